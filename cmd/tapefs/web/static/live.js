"use strict";
// Brings the part of the page that changes by itself up to date, as long as somebody looks at it.
(() => {
  const live = document.getElementById("live");
  if (!live) return;
  const every = 3000; // milliseconds
  const renew = async () => {
    if (!document.hidden) {
      try {
        const answer = await fetch("/live", { cache: "no-store" });
        if (answer.ok) live.innerHTML = await answer.text();
      } catch {
        // The server is away; the next try may find it again.
      }
    }
    setTimeout(renew, every);
  };
  setTimeout(renew, every);
})();

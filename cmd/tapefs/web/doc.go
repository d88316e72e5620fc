// Package web is the page of an archive: what the library holds, what is being read, what the runs did, how old each tape's last
// proof is, and how many tapes will be needed. It is made on the server, from templates that are part of the program; a page loads
// nothing from elsewhere and reads well without its one small script.
//
// A request passes through these steps:
//
//  1. guard.go: the name in the Host header must be one of ours, so that no foreign site can reach the page through the reader's
//     own browser; requests that change something must come from the page itself.
//  2. visitor.go: who asks. Without a token a visitor reads what anybody may read, by the modes of the files; with it, or named by a reverse
//     proxy, everything.
//  3. One handler for each kind of page. None of them touches a tape: what needs one is put into the queue of the mount, or started as a job.
//
// The package reads the catalog, and knows everything else (library, queue, contents, jobs) by interfaces that it declares itself.
package web

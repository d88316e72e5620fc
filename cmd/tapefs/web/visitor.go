package web

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/hex"
	"net"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"
)

// visitor is who asks.
type visitor struct {
	Trusted bool   // has the token, or is named by the proxy: sees all files, and may start things
	Name    string // as the proxy says; "" where nobody does
}

type socketKey struct{}

// markSocket notes of a connection whether it came through a unix socket.
func markSocket(ctx context.Context, c net.Conn) context.Context {
	return context.WithValue(ctx, socketKey{}, c.LocalAddr().Network() == "unix")
}

// visitor finds out who asks. A header is believed only from those who were named in the configuration.
func (s *Server) visitor(r *http.Request) visitor {
	if s.o.UserHeader != "" && s.isProxy(r) {
		if name := r.Header.Get(s.o.UserHeader); name != "" {
			return visitor{Trusted: true, Name: name}
		}
	}
	if s.o.Token == "" {
		return visitor{}
	}
	if word, ok := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer "); ok {
		return visitor{Trusted: s.isToken(word)}
	}
	c, err := r.Cookie(sessionCookie)
	return visitor{Trusted: err == nil && s.isSession(c.Value, time.Now())}
}

func (s *Server) isProxy(r *http.Request) bool {
	if unix, _ := r.Context().Value(socketKey{}).(bool); unix {
		return true
	}
	host, _, err := net.SplitHostPort(r.RemoteAddr)
	return err == nil && slices.Contains(s.o.Proxies, host)
}

// admit reports whether a visitor may see anything, and answers if not.
func (s *Server) admit(w http.ResponseWriter, v visitor) bool {
	if !s.o.Closed || v.Trusted {
		return true
	}
	w.Header().Set("WWW-Authenticate", `Bearer realm="tapefs"`)
	w.Header().Set("Refresh", "0; url=/login")
	http.Error(w, "this page is shown only to those who have its token: /login", http.StatusUnauthorized)
	return false
}

const (
	sessionCookie = "tapefs_session"
	// sessionLasts is for how long a token that was typed counts.
	sessionLasts = 30 * 24 * time.Hour
)

func (s *Server) isToken(word string) bool {
	return s.o.Token != "" && subtle.ConstantTimeCompare([]byte(word), []byte(s.o.Token)) == 1
}

// session is the value of a cookie that is good until a time: that time, and a proof that whoever made it had the token. Another token
// ends all sessions.
func (s *Server) session(until time.Time) string {
	text := strconv.FormatInt(until.Unix(), 10)
	mac := hmac.New(sha256.New, []byte(s.o.Token))
	mac.Write([]byte("tapefs page session v1 " + text))
	return text + "." + hex.EncodeToString(mac.Sum(nil))
}

func (s *Server) isSession(value string, now time.Time) bool {
	text, _, _ := strings.Cut(value, ".")
	until, err := strconv.ParseInt(text, 10, 64)
	if err != nil || now.Unix() >= until {
		return false
	}
	return hmac.Equal([]byte(value), []byte(s.session(time.Unix(until, 0))))
}

func (s *Server) askToken(w http.ResponseWriter, r *http.Request) {
	s.render(w, r, http.StatusOK, "login", s.visitor(r), "")
}

// login exchanges the token for a cookie.
func (s *Server) login(w http.ResponseWriter, r *http.Request) {
	if s.o.Token == "" {
		s.render(w, r, http.StatusForbidden, "login", visitor{}, "No token is set: web.token_file in the configuration names the file that holds it.")
		return
	}
	if !s.isToken(strings.TrimSpace(r.PostFormValue("token"))) {
		s.o.Log.Warn("a wrong token was shown", "from", r.RemoteAddr)
		s.render(w, r, http.StatusForbidden, "login", visitor{}, "That is not the token.")
		return
	}
	until := time.Now().Add(sessionLasts)
	http.SetCookie(w, &http.Cookie{Name: sessionCookie, Value: s.session(until), Path: "/", Expires: until, HttpOnly: true, Secure: r.TLS != nil, SameSite: http.SameSiteStrictMode})
	http.Redirect(w, r, "/", http.StatusSeeOther)
}

func (s *Server) logout(w http.ResponseWriter, r *http.Request) {
	http.SetCookie(w, &http.Cookie{Name: sessionCookie, Path: "/", MaxAge: -1, HttpOnly: true, SameSite: http.SameSiteStrictMode})
	http.Redirect(w, r, "/", http.StatusSeeOther)
}

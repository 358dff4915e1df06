// Package proxy is the HTTPS reverse proxy: what the document says of it, which route a request takes, and the handlers
// that serve it.
//
// The model in words. Config is the document's section. Compile makes a Table of it, which never changes: to reload is to
// put another Table in the place of the first, so that connections and requests under way notice nothing. Whatever has to
// outlive a reload (connections to back ends, the health of servers, limits) belongs to the Server and is found by name.
//
// A connection is accepted, shaken hands with, and given to the server of its protocol; those turn away what two programs
// could read differently (proxy/http1, and judgeStream for the others). A request has its path brought into one form, once;
// matching, filters, logs and the back end all see that form. The route is found by host (exact, then wildcard), then by path
// (exact, then the longest prefix). Filters decide, the route's back end answers, and headers are completed on the way out.
//
// The package runs in a process without privileges. It opens no listening socket and no file but those below the roots it
// was given, holds no key on disk, and knows nothing of firewalls or of the state store: what it needs of others is an
// interface of its own (Certificates, Countries, Reporter).
package proxy

// Package upstream sends the requests of the proxy to groups of back ends: which server of a group gets one, whether that
// server is well, what happens when it does not answer, and the connections to it.
//
// The model in words. A Group is what the document says; a Set holds the living groups, and outlives every reload: a server
// that is in the new configuration as it was in the old keeps its connections and what is known of its health, one that is
// not gets no more requests and is closed when those under way are over. Plain HTTP/1.1 goes over package h1, everything
// with TLS or HTTP/2 over http.Transport; what comes back looks the same.
//
// A server gets requests while it is up: it is down after so many failed checks in a row, up again after so many good ones,
// and set aside for a while after too many failures of real requests, after which one request at a time tries it. One that
// came back gets its share little by little. Servers marked as backup serve when no other can. When all are full a request
// waits for its turn, for a while. A request that failed before anything of its answer came is tried on another server,
// where trying twice cannot do harm.
//
// It knows nothing of routes, clients or headers, except for the address by which ip_hash chooses.
package upstream

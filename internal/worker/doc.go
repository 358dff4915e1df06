// Package worker runs what touches outside bytes in processes that have nothing to lose.
//
// The model in words. The daemon, which is root, starts its own binary as "platformd worker outbound" for one job at a
// time: fetch and read a feed, or read a file of country data. The child belongs to an unprivileged user, has no
// capabilities and cannot get any, sees an empty environment and only the files that name resolution and certificates
// need, is bounded in memory, CPU time, file size and time, and dies with its parent. A job without a URL has no network
// either. The job is one JSON object on its standard input, the result one on its standard output; what it read goes as
// sorted records to descriptor 3, a file without a name that the parent opened; descriptor 4 is the input where the source
// is a file, opened by the parent, so that the child needs no right to it.
//
// What a child says is hostile input: the result is bounded and checked field by field, and the records are checked for
// order, disjointness and number as they are read. The parent never parses what came from outside. Where the kernel or the
// user of the parent does not allow a part of this, the result says which (Result.Weak).
package worker

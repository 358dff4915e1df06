// Package geo answers which country an address belongs to, and which addresses a country has, from files of data that
// others publish.
//
// The model in words. A source (tor-geoipdb's geoip and geoip6, a CSV, or through geo/mmdb a MaxMind DB) is read in an
// unprivileged process into records: a range and a country code. Records of several sources are laid over each other, a
// later source over an earlier one wherever both name a country; within one source the narrower of two overlapping records
// wins, and of two equal ones the later. What is left is sorted and disjoint, and stored as one file of fixed-size
// records, named by its digest and read without loading it. An address that no record has is of unknown country; data
// without a country ("??", "ZZ"), with a code that is nobody's, or about addresses that are not public is left out.
//
// All countries are in the file from the first day. Select streams the union of some of them, which is what the kernel
// gets. This package never opens a connection, holds no whole database in memory while it is used, and guesses nothing: a
// source that is damaged is an error, and the last good database stays in force.
package geo

package main

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
)

// settings are of an index.
type settings map[string]any

// A key is what an id is made from.
type key struct {
	container string
	birth     int64 // ns, time of the file's first entry
	nanos     int64 // of the line
	offset    int64
	number    int64 // of the line among all
}

// A variant is a kind of ids and index settings. id gives "" for one that the
// server makes.
type variant struct {
	name     string
	settings settings
	id       func(key) string
}

func container(k key, n int) []byte {
	sum := sha256.Sum256([]byte(k.container))
	return sum[:n:n]
}

func end(b []byte, v int64, n int) []byte {
	var all [8]byte
	binary.BigEndian.PutUint64(all[:], uint64(v))
	return append(b, all[8-n:]...)
}

func text(b []byte) string { return base64.RawURLEncoding.EncodeToString(b) }

func automatic(key) string { return "" }

// ours is agent/pipeline's: 19 bytes.
func ours(k key) string { return text(end(end(container(k, 6), k.nanos, 8), k.offset, 5)) }

// short: container and file in one hash of 64 bits, and the place: 13 bytes.
// Two files of 10^8 have one hash with a probability of 0.0003.
func short(k key) string {
	sum := sha256.Sum256(fmt.Appendf(nil, "%s %d", k.container, k.birth))
	return text(end(sum[:8:8], k.offset, 5))
}

// short15: the same with the container apart, so that its files lie together.
func short15(k key) string {
	sum := sha256.Sum256(fmt.Appendf(nil, "%d", k.birth))
	return text(end(append(container(k, 6), sum[:4]...), k.offset, 5))
}

// timeFirst has the line's second in front.
func timeFirst(k key) string {
	return text(end(append(end(nil, k.nanos, 8), container(k, 6)...), k.offset, 5))
}

// placeFirst has what changes most in front.
func placeFirst(k key) string {
	return text(append(end(end(nil, k.offset, 5), k.nanos, 8), container(k, 6)...))
}

func random(k key) string {
	r := rand.New(rand.NewPCG(uint64(k.number), 1))
	b := binary.BigEndian.AppendUint64(binary.BigEndian.AppendUint64(nil, r.Uint64()), r.Uint64())
	return text(binary.BigEndian.AppendUint32(b, r.Uint32()))
}

func variants() []variant {
	logsdb := settings{"index.mode": "logsdb", "index.mapping.source.mode": "stored"}
	plain := settings{"index.codec": "best_compression"}
	with := func(of settings, more settings) settings {
		all := settings{}
		for k, v := range of {
			all[k] = v
		}
		for k, v := range more {
			all[k] = v
		}
		return all
	}
	return []variant{
		{"logsdb, automatic", logsdb, automatic},
		{"logsdb, ours 19", logsdb, ours},
		{"logsdb, hash8+offset 13", logsdb, short},
		{"logsdb, container+file+offset 15", logsdb, short15},
		{"logsdb, time first 19", logsdb, timeFirst},
		{"logsdb, place first 19", logsdb, placeFirst},
		{"logsdb, random 20", logsdb, random},
		{"standard, automatic", plain, automatic},
		{"standard, ours 19", plain, ours},
		{"standard, hash8+offset 13", plain, short},
		{"standard, random 20", plain, random},
		{"logsdb, ours, synthetic source", settings{"index.mode": "logsdb"}, ours},
		{"standard, ours, codec default", settings{}, ours},
		{"standard, ours, sorted by time", with(plain, settings{"index.sort.field": "@timestamp", "index.sort.order": "desc"}), ours},
		{"logsdb, ours, no bloom filter", with(logsdb, settings{"index.bloom_filter_for_id_field.enabled": false}), ours},
		{"standard, ours, no bloom filter", with(plain, settings{"index.bloom_filter_for_id_field.enabled": false}), ours},
		{"logsdb, ours, refresh 30 s", with(logsdb, settings{"index.refresh_interval": "30s"}), ours},
		{"logsdb, ours, refresh 1 s", with(logsdb, settings{"index.refresh_interval": "1s"}), ours},
		{"logsdb, ours, translog async", with(logsdb, settings{"index.translog.durability": "async"}), ours},
	}
}

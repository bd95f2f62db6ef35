package store

import "slices"

// slot is one kept value, as far as the cache is concerned.
type slot struct {
	dead bool   // what it rests on has changed; guarded by the cache's lock
	deps []*dep // guarded by the cache's lock
	drop func() // takes it out of its memo
}

// dep says that a slot rests on a key or on all keys with a prefix. Those of
// one key form a list.
type dep struct {
	slot       *slot
	key        string
	prefix     bool
	next, prev *dep
}

// deps finds the slots that rest on a key. It is guarded by the cache's lock.
type deps struct {
	keys     map[string]*dep
	prefixes map[string]*dep
	counts   map[int]int // how many distinct prefixes have a length
	lengths  []int       // the lengths that occur
}

func newDeps() deps {
	return deps{keys: map[string]*dep{}, prefixes: map[string]*dep{}, counts: map[int]int{}}
}

func (x *deps) table(prefix bool) map[string]*dep {
	if prefix {
		return x.prefixes
	}
	return x.keys
}

// add notes that a slot rests on a key or a prefix.
func (x *deps) add(s *slot, key string, prefix bool) {
	table := x.table(prefix)
	d := &dep{slot: s, key: key, prefix: prefix, next: table[key]}
	if d.next != nil {
		d.next.prev = d
	} else if prefix {
		x.count(len(key), 1)
	}
	table[key] = d
	s.deps = append(s.deps, d)
}

func (x *deps) remove(d *dep) {
	if d.next != nil {
		d.next.prev = d.prev
	}
	if d.prev != nil {
		d.prev.next = d.next
		return
	}
	table := x.table(d.prefix)
	if d.next != nil {
		table[d.key] = d.next
		return
	}
	delete(table, d.key)
	if d.prefix {
		x.count(len(d.key), -1)
	}
}

// count keeps the lengths that occur, which are few.
func (x *deps) count(length, by int) {
	x.counts[length] += by
	switch {
	case by > 0 && x.counts[length] == by:
		x.lengths = append(x.lengths, length)
	case x.counts[length] == 0:
		delete(x.counts, length)
		x.lengths = slices.DeleteFunc(x.lengths, func(n int) bool { return n == length })
	}
}

// kill drops a slot and forgets what it rested on.
func (x *deps) kill(s *slot) {
	s.dead = true
	for _, d := range s.deps {
		x.remove(d)
	}
	s.deps = nil
	s.drop()
}

// changed drops every slot that rests on a key.
func (x *deps) changed(key string) {
	x.killAll(x.keys, key)
	// Dropping may shorten lengths.
	for i := len(x.lengths) - 1; i >= 0; i-- {
		if n := x.lengths[i]; n <= len(key) {
			x.killAll(x.prefixes, key[:n])
		}
		i = min(i, len(x.lengths))
	}
}

func (x *deps) killAll(table map[string]*dep, key string) {
	for d := table[key]; d != nil; d = table[key] {
		x.kill(d.slot)
	}
}

// all drops every slot.
func (x *deps) all() {
	for _, table := range []map[string]*dep{x.keys, x.prefixes} {
		for key := range table {
			x.killAll(table, key)
		}
	}
}

// prefixOf is the longest prefix, of r's start, that all keys of r have.
func prefixOf(r Range) string {
	for n := len(r.Start); n > 0; n-- {
		end := PrefixEnd(r.Start[:n])
		if end == "" || r.End != "" && r.End <= end {
			return r.Start[:n]
		}
	}
	return ""
}

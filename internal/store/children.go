package store

import (
	"context"
	"sort"
	"strings"
)

// Page sizes of Children and Descendants, in keys. A page that ended inside a
// subtree is followed by a small one, since most of it was read in vain.
const (
	fullPage  = 1024
	smallPage = 32
)

// Children lists the immediate children of a directory: the names of keys that
// begin with dir, cut behind the next slash, each once and in byte order. A name
// with a trailing slash stands for a subtree, which is skipped, not read. dir is
// empty or ends in a slash; a key that is dir itself has no name and is left out. Names up to and including after are left out; limit
// bounds the number of names, 0 for all.
func Children(ctx context.Context, s Store, dir, after string, limit int) ([]string, error) {
	r := below(dir)
	if after != "" {
		r.Start = behind(dir, after)
	}
	var names []string
	for page := fullPage; ; {
		r.Limit = pageLimit(page, limit, len(names))
		es, err := s.List(ctx, r)
		if err != nil {
			return nil, err
		}
		var next string
		if names, next = appendChildren(names, es, dir, limit); limit > 0 && len(names) >= limit {
			return names, nil
		}
		if next == "" || len(es) < r.Limit {
			return names, nil
		}
		page = fullPage
		if !strings.HasSuffix(next, "\x00") {
			page = smallPage
		}
		r.Start = next
	}
}

// below is the keys under a directory, without one that is the directory's own
// name.
func below(dir string) Range {
	return Range{Start: dir + "\x00", End: PrefixEnd(dir), KeysOnly: true}
}

// behind is the first key after a child and all that is below it.
func behind(dir, after string) string {
	if i := strings.IndexByte(after, '/'); i >= 0 {
		return PrefixEnd(dir + after[:i+1])
	}
	return dir + after + "\x00"
}

func pageLimit(page, limit, have int) int {
	if limit > 0 && limit-have < page {
		return limit - have
	}
	return page
}

// appendChildren adds the children that a page of entries shows, and says
// where the next page starts: behind the last child.
func appendChildren(names []string, es []Entry, dir string, limit int) (out []string, next string) {
	if names == nil {
		names = make([]string, 0, len(es))
	}
	for i := 0; i < len(es) && (limit <= 0 || len(names) < limit); {
		name := es[i].Key[len(dir):]
		slash := strings.IndexByte(name, '/')
		if slash < 0 {
			next = ""
			i++
		} else {
			name = name[:slash+1]
			next = PrefixEnd(dir + name)
			i += sort.Search(len(es)-i, func(k int) bool { return es[i+k].Key >= next })
		}
		names = append(names, name)
	}
	if next == "" && len(es) > 0 {
		next = es[len(es)-1].Key + "\x00"
	}
	return names, next
}

// Descendants lists everything below a directory: the keys that begin with
// dir, without it, in byte order. after and limit are as in Children.
func Descendants(ctx context.Context, s Store, dir, after string, limit int) ([]string, error) {
	r := below(dir)
	if after != "" {
		r.Start = dir + after + "\x00"
	}
	var names []string
	for {
		r.Limit = pageLimit(fullPage, limit, len(names))
		es, err := s.List(ctx, r)
		if err != nil {
			return nil, err
		}
		for i := range es {
			names = append(names, es[i].Key[len(dir):])
		}
		if len(es) < r.Limit || len(names) == limit {
			return names, nil
		}
		r = r.After(es[len(es)-1].Key)
	}
}

package gate

// freshen makes sure that what this node remembers is as new as the store, and that
// it still serves: it may have been paused while all nodes were ordered to seal.
func (p *passage) freshen() error {
	rev, err := p.house.Cache.Fresh(&p.call)
	if err != nil {
		return err
	}
	p.rev = rev
	recalled, err := p.house.Recalled(&p.call)
	if err == nil && recalled {
		err = p.gate.errSealed()
	}
	return err
}

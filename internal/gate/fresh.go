package gate

// freshen makes sure that what this node remembers is as new as the store, and that
// it still serves: it may have been paused while all nodes were ordered to seal, or while
// an audit device was enabled.
func (p *passage) freshen() error {
	var err error
	if p.began, err = p.house.Cache.Moment(&p.call); err != nil {
		return err
	}
	recalled, err := p.house.Recalled(&p.call)
	if err == nil && recalled {
		err = p.gate.errSealed()
	}
	if err != nil {
		return err
	}
	return p.house.CatchUp(&p.call)
}

package discover

import (
	"errors"
	"io/fs"
	"time"
)

// GuaranteeViaAPI is what a reader may promise for a Container with ViaAPI.
const GuaranteeViaAPI = "at-least-once (docker api)"

// place decides from which file a container's lines are read. onDisk says that
// its directory is in reach. What was once read through the API stays so, even
// if the files can be read one day: the same lines have other offsets there
// and would be stored twice.
func (d *Discoverer) place(c *Container, onDisk bool) {
	const member = "log_path"
	switch {
	case c.Driver == "none":
		c.LogPath, c.Problem = "", "not readable: driver none"
	case c.Driver != "" && c.Driver != jsonFile:
		d.placeCopy(c, "driver "+c.Driver)
	case d.back != nil && d.back.has(c.ID):
		if err := readable(logPath(d.files.dir, c.ID)); errors.Is(err, fs.ErrPermission) {
			d.sayLost(err) // at every start, not only at that of the copy
		}
		d.placeCopy(c, "")
	case onDisk:
		c.LogPath = logPath(d.files.dir, c.ID)
		c.note(fromDirectory, member)
		if err := readable(c.LogPath); errors.Is(err, fs.ErrPermission) {
			d.loseFiles(c, err)
		}
	case c.Driver == "": // the API has listed it and could not say more
		c.LogPath = logPath(d.files.dir, c.ID)
		c.note(fromDirectory, member)
	case c.LogPath == "": // made, never started
		c.LogPath = logPath(d.files.dir, c.ID)
		c.note(fromDirectory, member)
	default:
		err := readable(c.LogPath)
		switch {
		case errors.Is(err, fs.ErrPermission):
			d.loseFiles(c, err)
		case errors.Is(err, fs.ErrNotExist):
			// The directory may not have been seen yet; later it means that
			// Docker's folder is not on this side (another machine, a VM).
			if time.Since(c.Created) < nameGrace {
				d.again[c.ID] = true
			} else {
				d.loseFiles(c, err)
			}
		}
	}
}

// loseFiles goes over to the API for a json-file container.
func (d *Discoverer) loseFiles(c *Container, err error) {
	d.sayLost(err)
	d.placeCopy(c, "log file: "+rootCause(err))
}

// sayLost says once what following through the API costs.
func (d *Discoverer) sayLost(err error) {
	d.once("lose", func() {
		d.log.Warn("docker's log files cannot be read, so containers are followed through the Docker API: "+
			"lines are delivered at least once instead of exactly once, and lines that Docker removes or skips before they are read are lost; "+
			"run as root or give read rights below docker.root", "err", err)
	})
}

// placeCopy lets the container be followed through the API into a local copy.
func (d *Discoverer) placeCopy(c *Container, why string) {
	c.LogPath = ""
	if d.back == nil {
		need := "docker.socket is not set"
		if d.client != nil {
			need = "no folder for local copies"
		}
		c.Problem = "not readable: " + why + " (only through the Docker API: " + need + ")"
		return
	}
	d.back.place(c)
}

// rootCause is the innermost error's text, without paths that Problem need
// not repeat.
func rootCause(err error) string {
	for {
		inner := errors.Unwrap(err)
		if inner == nil {
			return err.Error()
		}
		err = inner
	}
}

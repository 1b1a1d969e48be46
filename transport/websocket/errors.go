package websocket

import (
	"errors"
	"strconv"
)

// Codes of close frames that this package sends or knows. Others may come, too.
const (
	CloseNormal    = 1000 // the connection has done its work
	CloseGoingAway = 1001 // a server shuts down, or a page is left
	CloseProtocol  = 1002 // the other end broke the rules of WebSocket
	CloseBadKind   = 1003 // a text message came where binary ones belong, or the reverse
	CloseNoStatus  = 1005 // never sent: the close frame said nothing
	CloseBadText   = 1007 // a text message is no UTF-8
	ClosePolicy    = 1008 // the other end may not do what it did
	CloseTooLong   = 1009 // a message is longer than ReadLimit
	CloseTryLater  = 1013 // a server has too much to do
)

// ErrText is what Read fails with when the first message is a text. Nothing of it was taken: use ReadText.
var ErrText = errors.New("websocket: the first message is a text: the connection has to be read with ReadText")

// ErrBinary is what ReadText fails with when the first message is binary. Nothing of it was taken: use Read.
var ErrBinary = errors.New("websocket: the first message is binary: the connection has to be read with Read")

// CloseError says why a connection ended otherwise than in order: the other end's close
// frame gave another code than 1000, 1001 or none, or this end found something wrong, which its own close frame then says.
type CloseError struct {
	Code   int    // of the close frame
	Reason string // text for people; it may be empty
	local  bool   // this end found it
}

// Error tells who closed the connection and why.
func (e *CloseError) Error() string {
	if e.local {
		return "websocket: " + e.Reason
	}
	text := "websocket: the other end closed the connection with code " + strconv.Itoa(e.Code)
	if e.Reason == "" {
		return text
	}
	return text + ": " + strconv.Quote(e.Reason)
}

// UpgradeError is the answer of a server that didn't agree to the upgrade.
type UpgradeError struct {
	Status int    // the HTTP status
	Text   string // the beginning of the answer's body, at most 1 KiB; it may be empty
}

// Error tells the status and the text.
func (e *UpgradeError) Error() string {
	text := "websocket: the server refused the upgrade with status " + strconv.Itoa(e.Status)
	switch {
	case e.Text != "":
		return text + ": " + strconv.Quote(e.Text)
	case e.Status == 404:
		return text + ": is the address's path right?"
	}
	return text
}

package checks

import (
	"crypto/hmac"
	"crypto/pbkdf2"
	"crypto/rand"
	"crypto/sha256"
	"crypto/sha512"
	"crypto/subtle"
	"encoding/base64"
	"hash"
	"strconv"
	"strings"
)

// saslPlain is the only message of PLAIN.
func saslPlain(name, password string) []byte { return []byte("\x00" + name + "\x00" + password) }

// A scram is one login by SCRAM (RFC 5802) without channel binding.
type scram struct {
	hash                  func() hash.Hash
	name, password, nonce string
	proof                 []byte // what the server must answer in the end
}

func newScram(mechanism, name, password string) *scram {
	s := &scram{hash: sha256.New, password: password, nonce: rand.Text()}
	if mechanism == "SCRAM-SHA-512" {
		s.hash = sha512.New
	}
	s.name = strings.NewReplacer("=", "=3D", ",", "=2C").Replace(name)
	return s
}

func (s *scram) first() []byte { return []byte("n,,n=" + s.name + ",r=" + s.nonce) }

// second answers the server's challenge. Work for more than 100,000 rounds is
// refused: that is somebody who wants our processor.
func (s *scram) second(challenge []byte) ([]byte, error) {
	fields := scramFields(string(challenge))
	salt, err := base64.StdEncoding.DecodeString(fields["s"])
	rounds, err2 := strconv.Atoi(fields["i"])
	if err != nil || err2 != nil || rounds < 1 || rounds > 100_000 || len(fields["r"]) <= len(s.nonce) || !strings.HasPrefix(fields["r"], s.nonce) {
		return nil, wrongProtocol("the challenge of SCRAM is none: %s", clip(string(challenge)))
	}
	salted, err := pbkdf2.Key(s.hash, s.password, salt, rounds, s.hash().Size())
	if err != nil {
		return nil, err
	}
	mac := func(key []byte, text string) []byte {
		m := hmac.New(s.hash, key)
		m.Write([]byte(text))
		return m.Sum(nil)
	}
	client := mac(salted, "Client Key")
	stored := s.hash()
	stored.Write(client)
	bare := "c=biws,r=" + fields["r"]
	message := "n=" + s.name + ",r=" + s.nonce + "," + string(challenge) + "," + bare
	proof := mac(stored.Sum(nil), message)
	subtle.XORBytes(proof, proof, client)
	s.proof = mac(mac(salted, "Server Key"), message)
	return []byte(bare + ",p=" + base64.StdEncoding.EncodeToString(proof)), nil
}

// done says whether the server knows the password as well.
func (s *scram) done(last []byte) bool {
	proof, err := base64.StdEncoding.DecodeString(scramFields(string(last))["v"])
	return err == nil && hmac.Equal(proof, s.proof)
}

func scramFields(s string) map[string]string {
	out := map[string]string{}
	for f := range strings.SplitSeq(s, ",") {
		if name, text, ok := strings.Cut(f, "="); ok {
			out[name] = text
		}
	}
	return out
}

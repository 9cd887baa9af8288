package main

import (
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha1"
	"crypto/sha256"
	"database/sql"
	"encoding/binary"
	"errors"
	"fmt"
	"time"

	"github.com/eventbus-go/eventbus/bus"
	"github.com/eventbus-go/eventbus/schema/userservice"
)

// An mfaService sets up second factors: codes of an authenticator app (TOTP).
type mfaService struct {
	db     *store
	events bus.Publisher
}

const (
	totpMethod  = "totp"
	totpStep    = 30 * time.Second
	backupCodes = 10
)

// errWrongCode says that a code is not the one that the app shows now.
var errWrongCode = errors.New("wrong code")

// Enrol makes the seed that the user's app is to be given. Nothing is switched on yet, and nothing is published.
func (s *mfaService) Enrol(ctx context.Context, user int64) (seed []byte, err error) {
	seed = make([]byte, 20)
	rand.Read(seed)
	err = s.db.inTx(ctx, func(tx *sql.Tx) error {
		return change(ctx, tx, `INSERT INTO totp (user_id, seed) VALUES (?, ?)`, user, seed)
	})
	return seed, err
}

// Confirm switches the second factor on where the user's app shows the right code, and returns the backup codes. The
// event says how many there are, and never what they are.
func (s *mfaService) Confirm(ctx context.Context, user int64, code string) (codes []string, err error) {
	err = s.db.inTx(ctx, func(tx *sql.Tx) error {
		var seed []byte
		row := tx.QueryRowContext(ctx, `UPDATE totp SET confirmed = 1 WHERE user_id = ? RETURNING seed`, user)
		if err := row.Scan(&seed); err != nil {
			return err
		}
		now := time.Now()
		if code != totp(seed, now) && code != totp(seed, now.Add(-totpStep)) {
			return errWrongCode
		}
		codes, err = addBackupCodes(ctx, tx, user)
		return err
	})
	if err != nil {
		return nil, err
	}
	announce(ctx, s.events, userservice.NewMFAEnabled(userservice.MFAEnabledPayload{
		UserID: user, Method: totpMethod, BackupCodesCount: len(codes),
	}))
	return codes, nil
}

// Disable switches the second factor off.
func (s *mfaService) Disable(ctx context.Context, user int64) error {
	err := s.db.inTx(ctx, func(tx *sql.Tx) error {
		if err := change(ctx, tx, `DELETE FROM backup_codes WHERE user_id = ?`, user); err != nil {
			return err
		}
		return change(ctx, tx, `DELETE FROM totp WHERE user_id = ? AND confirmed = 1`, user)
	})
	if err != nil {
		return err
	}
	announce(ctx, s.events, userservice.NewMFADisabled(userservice.MFADisabledPayload{
		UserID: user, Method: totpMethod,
	}))
	return nil
}

func addBackupCodes(ctx context.Context, tx *sql.Tx, user int64) (codes []string, err error) {
	for range backupCodes {
		code := rand.Text()
		hash := sha256.Sum256([]byte(code))
		if err := change(ctx, tx, `INSERT INTO backup_codes (user_id, hash) VALUES (?, ?)`, user, hash[:]); err != nil {
			return nil, err
		}
		codes = append(codes, code)
	}
	return codes, nil
}

// totp is the code that an authenticator app shows at a time (RFC 6238, six digits).
func totp(seed []byte, at time.Time) string {
	mac := hmac.New(sha1.New, seed)
	_ = binary.Write(mac, binary.BigEndian, at.Unix()/int64(totpStep/time.Second)) // a hash takes every write
	sum := mac.Sum(nil)
	n := binary.BigEndian.Uint32(sum[sum[len(sum)-1]&15:]) & (1<<31 - 1)
	return fmt.Sprintf("%06d", n%1_000_000)
}

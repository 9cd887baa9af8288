package userservice

import "github.com/eventbus-go/eventbus/schema"

// The events about second factors.
var (
	// MFAEnabled says that a user set up a second factor.
	MFAEnabled = ofUser("mfa.enabled", schema.High, func(p MFAEnabledPayload) int64 { return p.UserID })
	// MFADisabled says that a user gave up a second factor.
	MFADisabled = ofUser("mfa.disabled", schema.High, func(p MFADisabledPayload) int64 { return p.UserID })
	// MFAVerified says that a second factor was right.
	MFAVerified = ofUser("mfa.verified", schema.Normal, func(p MFAVerifiedPayload) int64 { return p.UserID })
	// MFAFailed says that a second factor was wrong.
	MFAFailed = ofUser("mfa.failed", schema.High, func(p MFAFailedPayload) int64 { return p.UserID })
)

// MFAEnabledPayload is the payload of [MFAEnabled].
type MFAEnabledPayload struct {
	UserID           int64  `json:"user_id"`
	Method           string `json:"method"`             // such as "totp"
	BackupCodesCount int    `json:"backup_codes_count"` // how many were issued, never the codes
}

// NewMFAEnabled makes a "mfa.enabled" event.
func NewMFAEnabled(p MFAEnabledPayload) schema.Event { return MFAEnabled.New(p) }

// MFADisabledPayload is the payload of [MFADisabled].
type MFADisabledPayload struct {
	UserID int64  `json:"user_id"`
	Method string `json:"method"` // such as "totp"
}

// NewMFADisabled makes a "mfa.disabled" event.
func NewMFADisabled(p MFADisabledPayload) schema.Event { return MFADisabled.New(p) }

// MFAVerifiedPayload is the payload of [MFAVerified].
type MFAVerifiedPayload struct {
	UserID int64  `json:"user_id"`
	Method string `json:"method"` // such as "totp"
}

// NewMFAVerified makes a "mfa.verified" event.
func NewMFAVerified(p MFAVerifiedPayload) schema.Event { return MFAVerified.New(p) }

// MFAFailedPayload is the payload of [MFAFailed].
type MFAFailedPayload struct {
	UserID   int64  `json:"user_id"`
	Method   string `json:"method"`   // such as "totp"
	Attempts int    `json:"attempts"` // how many failed in a row
}

// NewMFAFailed makes a "mfa.failed" event.
func NewMFAFailed(p MFAFailedPayload) schema.Event { return MFAFailed.New(p) }

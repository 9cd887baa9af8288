package userservice

import "github.com/eventbus-go/eventbus/schema"

// The events about signing in and out, passwords and sessions.
var (
	// LoginSuccess says that a user signed in.
	LoginSuccess = ofUser("login.success", schema.Normal, func(p LoginSuccessPayload) int64 { return p.UserID })
	// LoginFailed says that somebody could not sign in.
	// Its subject is null where the account is unknown.
	LoginFailed = schema.MustDefine(Events, schema.Definition[LoginFailedPayload]{
		Type: "login.failed", Priority: schema.High,
		Subject: func(p LoginFailedPayload) string {
			if p.UserID == 0 {
				return ""
			}
			return schema.Ref("user", p.UserID)
		},
	})
	// Logout says that a user signed out.
	Logout = ofUser("logout", schema.Normal, func(p LogoutPayload) int64 { return p.UserID })
	// TokenRefreshed says that a session was prolonged.
	TokenRefreshed = ofUser("token.refreshed", schema.Low,
		func(p TokenRefreshedPayload) int64 { return p.UserID })
	// PasswordChanged says that a user changed the password.
	PasswordChanged = ofUser("password.changed", schema.High,
		func(p PasswordChangedPayload) int64 { return p.UserID })
	// PasswordResetRequested says that somebody asked to reset a user's password.
	PasswordResetRequested = ofUser("password.reset_requested", schema.High,
		func(p PasswordResetRequestedPayload) int64 { return p.UserID })
	// PasswordResetCompleted says that a user's password was reset.
	PasswordResetCompleted = ofUser("password.reset_completed", schema.High,
		func(p PasswordResetCompletedPayload) int64 { return p.UserID })
	// SessionCreated says that a session began.
	SessionCreated = ofUser("session.created", schema.Normal,
		func(p SessionCreatedPayload) int64 { return p.UserID })
	// SessionRevoked says that a session was ended.
	SessionRevoked = ofUser("session.revoked", schema.Normal,
		func(p SessionRevokedPayload) int64 { return p.UserID })
)

// LoginSuccessPayload is the payload of [LoginSuccess].
type LoginSuccessPayload struct {
	UserID            int64  `json:"user_id"`
	SessionID         string `json:"session_id"`         // the session's id, not what authenticates it
	MFAVerified       bool   `json:"mfa_verified"`       // whether a second factor was checked
	DeviceFingerprint string `json:"device_fingerprint"` // empty where there is none
}

// NewLoginSuccess makes a "login.success" event. The address goes to the metadata as "ip", unless it is empty.
func NewLoginSuccess(p LoginSuccessPayload, ip string) schema.Event {
	e := LoginSuccess.New(p)
	setText(&e, "ip", ip, maxIP)
	return e
}

// LoginFailedPayload is the payload of [LoginFailed].
type LoginFailedPayload struct {
	UserID     int64  `json:"user_id,omitempty"` // 0 where the account is unknown
	Identifier string `json:"identifier"`        // what was entered as the name; see [NewLoginFailed]
	Reason     string `json:"reason"`            // in a few words, for people
}

// NewLoginFailed makes a "login.failed" event. ip and userAgent go to the metadata, unless they are empty.
//
// Whoever fails to sign in chooses the identifier and the user agent, and must not be able to make the event too
// large to be published: they are cut after 320 and 512 bytes.
func NewLoginFailed(p LoginFailedPayload, ip, userAgent string) schema.Event {
	p.Identifier = clip(p.Identifier, maxIdentifier)
	e := LoginFailed.New(p)
	setText(&e, "ip", ip, maxIP)
	setText(&e, "user_agent", userAgent, maxUserAgent)
	return e
}

// LogoutPayload is the payload of [Logout].
type LogoutPayload struct {
	UserID    int64  `json:"user_id"`
	SessionID string `json:"session_id"` // the session's id, not what authenticates it
}

// NewLogout makes a "logout" event.
func NewLogout(p LogoutPayload) schema.Event { return Logout.New(p) }

// TokenRefreshedPayload is the payload of [TokenRefreshed].
type TokenRefreshedPayload struct {
	UserID    int64  `json:"user_id"`
	SessionID string `json:"session_id"` // the session's id, not what authenticates it
}

// NewTokenRefreshed makes a "token.refreshed" event.
func NewTokenRefreshed(p TokenRefreshedPayload) schema.Event { return TokenRefreshed.New(p) }

// PasswordChangedPayload is the payload of [PasswordChanged].
type PasswordChangedPayload struct {
	UserID int64 `json:"user_id"`
}

// NewPasswordChanged makes a "password.changed" event.
func NewPasswordChanged(p PasswordChangedPayload) schema.Event { return PasswordChanged.New(p) }

// PasswordResetRequestedPayload is the payload of [PasswordResetRequested].
type PasswordResetRequestedPayload struct {
	UserID int64 `json:"user_id"`
}

// NewPasswordResetRequested makes a "password.reset_requested" event.
func NewPasswordResetRequested(p PasswordResetRequestedPayload) schema.Event {
	return PasswordResetRequested.New(p)
}

// PasswordResetCompletedPayload is the payload of [PasswordResetCompleted].
type PasswordResetCompletedPayload struct {
	UserID int64 `json:"user_id"`
}

// NewPasswordResetCompleted makes a "password.reset_completed" event.
func NewPasswordResetCompleted(p PasswordResetCompletedPayload) schema.Event {
	return PasswordResetCompleted.New(p)
}

// SessionCreatedPayload is the payload of [SessionCreated].
type SessionCreatedPayload struct {
	UserID    int64  `json:"user_id"`
	SessionID string `json:"session_id"` // the session's id, not what authenticates it
}

// NewSessionCreated makes a "session.created" event.
func NewSessionCreated(p SessionCreatedPayload) schema.Event { return SessionCreated.New(p) }

// SessionRevokedPayload is the payload of [SessionRevoked].
type SessionRevokedPayload struct {
	UserID    int64  `json:"user_id"`
	SessionID string `json:"session_id"` // the session's id, not what authenticates it
	Reason    string `json:"reason"`     // in a few words, for people
}

// NewSessionRevoked makes a "session.revoked" event.
func NewSessionRevoked(p SessionRevokedPayload) schema.Event { return SessionRevoked.New(p) }

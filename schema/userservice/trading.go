package userservice

import "github.com/eventbus-go/eventbus/schema"

// The events about trading accounts and who may use them.
var (
	// TradingAccountLinked says that a trading account was linked to a user.
	TradingAccountLinked = ofAccount("trading_account.linked", schema.Normal,
		func(p TradingAccountLinkedPayload) (int64, int64) { return p.UserID, p.TradingAccountID })
	// TradingAccountUnlinked says that a trading account was unlinked from a user.
	TradingAccountUnlinked = ofAccount("trading_account.unlinked", schema.Normal,
		func(p TradingAccountUnlinkedPayload) (int64, int64) { return p.UserID, p.TradingAccountID })
	// TradingAccountUpdated says that a user's trading account changed.
	TradingAccountUpdated = ofAccount("trading_account.updated", schema.Normal,
		func(p TradingAccountUpdatedPayload) (int64, int64) { return p.UserID, p.TradingAccountID })
	// MembershipGranted says that a user may use a trading account from now on.
	MembershipGranted = ofAccount("membership.granted", schema.Normal,
		func(p MembershipGrantedPayload) (int64, int64) { return p.UserID, p.TradingAccountID })
	// MembershipRevoked says that a user may not use a trading account any more.
	MembershipRevoked = ofAccount("membership.revoked", schema.Normal,
		func(p MembershipRevokedPayload) (int64, int64) { return p.UserID, p.TradingAccountID })
)

// TradingAccountLinkedPayload is the payload of [TradingAccountLinked].
type TradingAccountLinkedPayload struct {
	UserID           int64  `json:"user_id"`
	TradingAccountID int64  `json:"trading_account_id"`
	Broker           string `json:"broker"` // the trading account's broker
}

// NewTradingAccountLinked makes a "trading_account.linked" event.
func NewTradingAccountLinked(p TradingAccountLinkedPayload) schema.Event {
	return TradingAccountLinked.New(p)
}

// TradingAccountUnlinkedPayload is the payload of [TradingAccountUnlinked].
type TradingAccountUnlinkedPayload struct {
	UserID           int64  `json:"user_id"`
	TradingAccountID int64  `json:"trading_account_id"`
	Broker           string `json:"broker"` // the trading account's broker
	Reason           string `json:"reason"` // in a few words, for people
}

// NewTradingAccountUnlinked makes a "trading_account.unlinked" event.
func NewTradingAccountUnlinked(p TradingAccountUnlinkedPayload) schema.Event {
	return TradingAccountUnlinked.New(p)
}

// TradingAccountUpdatedPayload is the payload of [TradingAccountUpdated].
type TradingAccountUpdatedPayload struct {
	UserID           int64    `json:"user_id"`
	TradingAccountID int64    `json:"trading_account_id"`
	UpdatedFields    []string `json:"updated_fields"` // the names of what changed, never the values
}

// NewTradingAccountUpdated makes a "trading_account.updated" event.
func NewTradingAccountUpdated(p TradingAccountUpdatedPayload) schema.Event {
	return TradingAccountUpdated.New(p)
}

// MembershipGrantedPayload is the payload of [MembershipGranted].
type MembershipGrantedPayload struct {
	UserID           int64    `json:"user_id"`
	TradingAccountID int64    `json:"trading_account_id"`
	Permissions      []string `json:"permissions"` // what the member may do with the account
}

// NewMembershipGranted makes a "membership.granted" event, whose actor is the user grantedBy.
func NewMembershipGranted(p MembershipGrantedPayload, grantedBy int64) schema.Event {
	return by(grantedBy, MembershipGranted.New(p))
}

// MembershipRevokedPayload is the payload of [MembershipRevoked].
type MembershipRevokedPayload struct {
	UserID           int64  `json:"user_id"`
	TradingAccountID int64  `json:"trading_account_id"`
	Reason           string `json:"reason"` // in a few words, for people
}

// NewMembershipRevoked makes a "membership.revoked" event, whose actor is the user revokedBy.
func NewMembershipRevoked(p MembershipRevokedPayload, revokedBy int64) schema.Event {
	return by(revokedBy, MembershipRevoked.New(p))
}

package schema

import "time"

// appendTime appends t as RFC 3339 in UTC with a Z, with a fraction only where it is not zero, and then without zeros
// at its end. ok is false where the year does not have four digits.
func appendTime(dst []byte, t time.Time) (_ []byte, ok bool) {
	t = t.UTC()
	year, month, day := t.Date()
	if year < 0 || year > 9999 {
		return dst, false
	}
	hour, minute, second := t.Clock()
	dst = append2(append2(dst, year/100), year%100)
	dst = append2(append(dst, '-'), int(month))
	dst = append2(append(dst, '-'), day)
	dst = append2(append(dst, 'T'), hour)
	dst = append2(append(dst, ':'), minute)
	dst = append2(append(dst, ':'), second)
	if ns := t.Nanosecond(); ns != 0 {
		dst = appendFraction(dst, ns)
	}
	return append(dst, 'Z'), true
}

// append2 appends n, from 0 to 99, as two digits.
func append2(dst []byte, n int) []byte {
	return append(dst, byte('0'+n/10), byte('0'+n%10))
}

// appendFraction appends the nanoseconds of a second, which are not zero. It writes all nine digits, two by two since
// constants are cheap to divide by, and takes the zeros at the end back.
func appendFraction(dst []byte, ns int) []byte {
	dst = append(dst, '.', byte('0'+ns/100_000_000))
	dst = append2(append2(dst, ns/1_000_000%100), ns/10_000%100)
	dst = append2(append2(dst, ns/100%100), ns%100)
	for dst[len(dst)-1] == '0' {
		dst = dst[:len(dst)-1]
	}
	return dst
}

// parseTime reads a timestamp by RFC 3339, section 5.6, in UTC. Digits beyond nanoseconds are cut off, and a leap
// second is refused, since time.Time has none. canonical says whether appendTime would write the same text again.
func parseTime(s []byte) (t time.Time, canonical, ok bool) {
	const shortest = len("2006-01-02T15:04:05Z")
	if len(s) < shortest || s[4] != '-' || s[7] != '-' || s[10]|' ' != 't' || s[13] != ':' || s[16] != ':' {
		return t, false, false
	}
	century, ok1 := digits2(s[0:], 0, 99)
	year, ok2 := digits2(s[2:], 0, 99)
	month, ok3 := digits2(s[5:], 1, 12)
	year += 100 * century
	day, ok4 := digits2(s[8:], 1, daysIn(year, month))
	hour, ok5 := digits2(s[11:], 0, 23)
	minute, ok6 := digits2(s[14:], 0, 59)
	second, ok7 := digits2(s[17:], 0, 59)
	if !ok1 || !ok2 || !ok3 || !ok4 || !ok5 || !ok6 || !ok7 {
		return t, false, false
	}
	ns, n, trimmed := parseFraction(s[19:])
	offset, utc, ok := parseOffset(s[19+n:])
	seconds := daysSince1970(year, month, day)*86400 + hour*3600 + minute*60 + second - offset
	t = time.Unix(int64(seconds), int64(ns)).UTC()
	return t, utc && trimmed && s[10] == 'T' && !t.IsZero(), ok && n != 1
}

// digits2 reads two digits and checks their range.
func digits2(s []byte, low, high int) (n int, ok bool) {
	a, b := s[0]-'0', s[1]-'0'
	n = int(a)*10 + int(b)
	return n, a <= 9 && b <= 9 && low <= n && n <= high
}

// daysIn returns the number of days of a month of the Gregorian calendar.
func daysIn(year, month int) int {
	switch month {
	case 2:
		if year%4 == 0 && (year%100 != 0 || year%400 == 0) {
			return 29
		}
		return 28
	case 4, 6, 9, 11:
		return 30
	default:
		return 31
	}
}

// daysSince1970 returns how many days lie between a day and 1970-01-01, by the Gregorian calendar of all times, for
// years from 0 (Hinnant, "chrono-Compatible Low-Level Date Algorithms", days_from_civil).
func daysSince1970(year, month, day int) int {
	const shift, epoch = 400, 146_097 + 719_468 // a cycle of the calendar more, as year 0 may become -1
	year += shift
	if month <= 2 { // years begin in March, so that the leap day is at the end
		year--
		month += 12
	}
	return 365*year + year/4 - year/100 + year/400 + (153*(month-3)+2)/5 + day - 1 - epoch
}

// parseFraction reads a fraction of a second, if there is one; n is its length, 1 for a dot without digits. trimmed
// says that it is absent, or has one to nine digits and no zero at its end.
func parseFraction(s []byte) (ns, n int, trimmed bool) {
	if len(s) == 0 || s[0] != '.' {
		return 0, 0, true
	}
	unit := 100_000_000
	for n = 1; n < len(s) && '0' <= s[n] && s[n] <= '9'; n++ {
		ns += int(s[n]-'0') * unit
		unit /= 10
	}
	return ns, n, n <= 1+9 && s[n-1] != '0'
}

// parseOffset reads what ends a timestamp: Z or the distance from UTC, in seconds. utc says that it is a capital Z.
func parseOffset(s []byte) (offset int, utc, ok bool) {
	if len(s) == 1 {
		return 0, s[0] == 'Z', s[0]|' ' == 'z'
	}
	if len(s) != len("+01:00") || s[0] != '+' && s[0] != '-' || s[3] != ':' {
		return 0, false, false
	}
	hours, ok1 := digits2(s[1:], 0, 23)
	minutes, ok2 := digits2(s[4:], 0, 59)
	offset = hours*3600 + minutes*60
	if s[0] == '-' {
		offset = -offset
	}
	return offset, false, ok1 && ok2
}

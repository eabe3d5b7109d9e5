//! Decimal numbers as FHIRPath counts them: exact, and with the digits that were written.

use std::cmp::Ordering;
use std::fmt;

/// Digits that a decimal may have: what one `i128` holds with room for a product's carry.
const MAXIMUM_DIGITS: u32 = 36;
/// Digits after the point of a quotient that does not end (FHIRPath asks for at least eight).
const QUOTIENT_SCALE: u32 = 16;

/// `digits` × 10^-`scale`.
#[derive(Debug, Clone, Copy)]
pub(super) struct Decimal {
    digits: i128,
    scale: u32,
}

impl Decimal {
    /// Reads what JSON and FHIRPath write: `-1`, `1.50`, `1e3`.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let (mantissa, exponent) = match text.find(['e', 'E']) {
            Some(at) => (text.get(..at)?, text.get(at + 1..)?.parse::<i32>().ok()?),
            None => (text, 0),
        };
        let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
        let (negative, whole) = match whole.strip_prefix('-') {
            Some(whole) => (true, whole),
            None => (false, whole.strip_prefix('+').unwrap_or(whole)),
        };
        let is_written = !whole.is_empty() && (mantissa.contains('.') != fraction.is_empty());
        if !is_written || !whole.bytes().chain(fraction.bytes()).all(|byte| byte.is_ascii_digit()) {
            return None;
        }
        let mut digits: i128 = 0;
        for byte in whole.bytes().chain(fraction.bytes()) {
            digits = digits.checked_mul(10)?.checked_add(i128::from(byte - b'0'))?;
        }
        let digits = if negative { -digits } else { digits };
        let scale = i32::try_from(fraction.len()).ok()?.checked_sub(exponent)?;
        let decimal = match u32::try_from(scale) {
            Ok(scale) => Self { digits, scale },
            Err(_) => Self { digits: digits.checked_mul(power_of_ten(scale.unsigned_abs())?)?, scale: 0 },
        };
        (decimal.scale <= MAXIMUM_DIGITS).then_some(decimal)
    }

    pub(super) fn from_integer(number: i64) -> Self {
        Self { digits: i128::from(number), scale: 0 }
    }

    /// The integer, if nothing is behind the point.
    pub(super) fn to_integer(self) -> Option<i64> {
        let reduced = self.reduced();
        (reduced.scale == 0).then(|| i64::try_from(reduced.digits).ok())?
    }

    pub(super) fn is_zero(self) -> bool {
        self.digits == 0
    }

    /// Digits behind the point, without zeros at the end.
    pub(super) fn precision(self) -> u32 {
        self.reduced().scale
    }

    /// Without zeros at the end.
    fn reduced(mut self) -> Self {
        while self.scale > 0 && self.digits % 10 == 0 {
            self.digits /= 10;
            self.scale -= 1;
        }
        self
    }

    fn aligned(self, other: Self) -> Option<(i128, i128, u32)> {
        let scale = self.scale.max(other.scale);
        let raise = |decimal: Self| decimal.digits.checked_mul(power_of_ten(scale - decimal.scale)?);
        Some((raise(self)?, raise(other)?, scale))
    }

    pub(super) fn add(self, other: Self) -> Option<Self> {
        let (left, right, scale) = self.aligned(other)?;
        // The smallest has no counterpart above zero.
        let digits = left.checked_add(right).filter(|digits| *digits != i128::MIN)?;
        Some(Self { digits, scale })
    }

    pub(super) fn subtract(self, other: Self) -> Option<Self> {
        self.add(other.negated())
    }

    pub(super) fn multiply(self, other: Self) -> Option<Self> {
        let (left, right) = (self.reduced(), other.reduced());
        let product = Self { digits: left.digits.checked_mul(right.digits)?, scale: left.scale + right.scale };
        (product.scale <= MAXIMUM_DIGITS).then_some(product)
    }

    /// `None` also for a division by zero.
    pub(super) fn divide(self, other: Self) -> Option<Self> {
        let (left, right, _) = self.reduced().aligned(other.reduced())?;
        for scale in (0..=QUOTIENT_SCALE).rev() {
            let Some(raised) = power_of_ten(scale).and_then(|power| left.checked_mul(power)) else { continue };
            let (quotient, rest) = (raised.checked_div(right)?, raised.checked_rem(right)?);
            // Half is away from zero.
            let up = rest.unsigned_abs() >= right.unsigned_abs() - rest.unsigned_abs();
            let sign = if (raised < 0) == (right < 0) { 1 } else { -1 };
            return Some(Self { digits: quotient.checked_add(if up { sign } else { 0 })?, scale }.reduced());
        }
        None
    }

    /// The whole part of the quotient.
    pub(super) fn whole_quotient(self, other: Self) -> Option<i64> {
        let (left, right, _) = self.aligned(other)?;
        i64::try_from(left.checked_div(right)?).ok()
    }

    pub(super) fn remainder(self, other: Self) -> Option<Self> {
        let (left, right, scale) = self.aligned(other)?;
        Some(Self { digits: left.checked_rem(right)?, scale }.reduced())
    }

    pub(super) fn negated(self) -> Self {
        Self { digits: -self.digits, scale: self.scale }
    }

    pub(super) fn absolute(self) -> Self {
        Self { digits: self.digits.abs(), scale: self.scale }
    }

    /// Rounded to so many digits behind the point, half away from zero.
    pub(super) fn round(self, scale: u32) -> Option<Self> {
        if scale >= self.scale {
            return Some(self);
        }
        let power = power_of_ten(self.scale - scale)?;
        let (quotient, rest) = (self.digits / power, self.digits % power);
        let up = rest.unsigned_abs() * 2 >= power.unsigned_abs();
        Some(Self { digits: quotient + if up { self.digits.signum() } else { 0 }, scale })
    }

    pub(super) fn truncate(self) -> Option<i64> {
        i64::try_from(self.digits / power_of_ten(self.scale)?).ok()
    }

    pub(super) fn floor(self) -> Option<i64> {
        i64::try_from(self.digits.div_euclid(power_of_ten(self.scale)?)).ok()
    }

    pub(super) fn ceiling(self) -> Option<i64> {
        self.negated().floor()?.checked_neg()
    }
}

impl PartialEq for Decimal {
    fn eq(&self, other: &Self) -> bool {
        let (left, right) = (self.reduced(), other.reduced());
        (left.digits, left.scale) == (right.digits, right.scale)
    }
}

impl PartialOrd for Decimal {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        match self.aligned(*other) {
            Some((left, right, _)) => Some(left.cmp(&right)),
            // Too far apart for one scale: the whole parts differ, or the one with fewer digits behind the point is larger.
            None => {
                let whole = |decimal: &Self| power_of_ten(decimal.scale).map(|power| decimal.digits.div_euclid(power));
                Some(whole(self)?.cmp(&whole(other)?))
            }
        }
    }
}

impl fmt::Display for Decimal {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sign = if self.digits < 0 { "-" } else { "" };
        let digits = self.digits.unsigned_abs();
        let scale = self.scale as usize;
        let text = format!("{digits:0>width$}", width = scale + 1);
        let (whole, fraction) = text.split_at(text.len() - scale);
        match fraction {
            "" => write!(formatter, "{sign}{whole}"),
            _ => write!(formatter, "{sign}{whole}.{fraction}"),
        }
    }
}

fn power_of_ten(exponent: u32) -> Option<i128> {
    10i128.checked_pow(exponent)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decimal(text: &str) -> Decimal {
        Decimal::parse(text).unwrap_or_else(|| panic!("{text}"))
    }

    #[test]
    fn digits_stay_as_they_were_written() {
        for text in ["0", "-1", "1.50", "0.000", "-0.05", "123456789012345678901234567890.123"] {
            assert_eq!(decimal(text).to_string(), text);
        }
        assert_eq!(decimal("1e3").to_string(), "1000");
        assert_eq!(decimal("1.5E-3").to_string(), "0.0015");
        for text in ["", "-", "1.", ".5", "1e", "1e99", "1e-99", "1_0", "0x1", "1.-5", "٣"] {
            assert!(Decimal::parse(text).is_none(), "{text}");
        }
    }

    #[test]
    fn arithmetic_is_exact_or_absent() {
        assert_eq!(decimal("0.1").add(decimal("0.2")).unwrap().to_string(), "0.3");
        assert_eq!(decimal("1.2").multiply(decimal("1.8")).unwrap().to_string(), "2.16");
        assert_eq!(decimal("4").divide(decimal("2")).unwrap().to_string(), "2");
        assert_eq!(decimal("1").divide(decimal("3")).unwrap().to_string(), "0.3333333333333333");
        assert_eq!(decimal("-2").divide(decimal("3")).unwrap().to_string(), "-0.6666666666666667");
        assert!(decimal("1").divide(decimal("0.0")).is_none());
        assert_eq!(decimal("5.5").remainder(decimal("0.7")).unwrap().to_string(), "0.6");
        assert_eq!(decimal("-1.5").floor(), Some(-2));
        assert_eq!(decimal("-1.5").ceiling(), Some(-1));
        assert_eq!(decimal("3.14159").round(3).unwrap().to_string(), "3.142");
        assert_eq!(decimal("-0.5").round(0).unwrap().to_string(), "-1");
        let large = decimal("170141183460469231731687303715884105727");
        assert!(large.add(large).is_none() && large.multiply(large).is_none());
        assert!(large > decimal("0.000000000000000000000000000001"));
    }

    #[test]
    fn zeros_at_the_end_are_of_no_account() {
        assert_eq!(decimal("1.50"), decimal("1.5"));
        assert_eq!(decimal("2.0").to_integer(), Some(2));
        assert_eq!(decimal("2.5").to_integer(), None);
        assert_eq!(decimal("1.10").precision(), 1);
    }
}

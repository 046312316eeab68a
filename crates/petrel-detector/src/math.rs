//! Tail probabilities in log space, and the elementary functions that detectors use.
//!
//! Everything transcendental goes through `libm`, never through the platform's: so a native detector
//! and its WASM module agree bit for bit.

/// ln 10.
pub const LN_10: f64 = std::f64::consts::LN_10;

/// Steps of a continued fraction at most; it takes about the root of its larger parameter, so this is
/// enough for counts of 10^7.
const STEPS_MAX: usize = 5_000;

/// Natural logarithm.
#[must_use]
#[inline]
pub fn ln(x: f64) -> f64 {
    libm::log(x)
}

/// e to the power of `x`.
#[must_use]
#[inline]
pub fn exp(x: f64) -> f64 {
    libm::exp(x)
}

/// 2 to the power of `x`.
#[must_use]
#[inline]
pub fn exp2(x: f64) -> f64 {
    libm::exp2(x)
}

/// Logarithm to the base 2.
#[must_use]
#[inline]
pub fn log2(x: f64) -> f64 {
    libm::log2(x)
}

/// Logarithm to the base 10.
#[must_use]
#[inline]
pub fn log10(x: f64) -> f64 {
    libm::log10(x)
}

/// ln(1 + x), exact for small `x`.
#[must_use]
#[inline]
pub fn ln_1p(x: f64) -> f64 {
    libm::log1p(x)
}

/// ln(1 - e^x) for `x` at most 0.
#[must_use]
pub fn ln_1m_exp(x: f64) -> f64 {
    // The two forms keep their digits on either side of 1/2 (Maechler 2012).
    if x > -std::f64::consts::LN_2 {
        ln(-libm::expm1(x))
    } else {
        ln_1p(-exp(x))
    }
}

/// ln(e^a + e^b).
#[must_use]
pub fn ln_add(a: f64, b: f64) -> f64 {
    let (small, large) = if a < b { (a, b) } else { (b, a) };
    if small == f64::NEG_INFINITY {
        large
    } else {
        large + ln_1p(exp(small - large))
    }
}

/// ln |Gamma(x)|.
#[must_use]
pub fn ln_gamma(x: f64) -> f64 {
    libm::lgamma(x)
}

/// ln B(a, b).
#[must_use]
pub fn ln_beta(a: f64, b: f64) -> f64 {
    ln_gamma(a) + ln_gamma(b) - ln_gamma(a + b)
}

/// -log10 of a probability given by its natural logarithm; never below 0.
#[must_use]
pub fn surprise(ln_p: f64) -> f64 {
    (-ln_p / LN_10).max(0.0)
}

/// ln I_x(a, b), the regularised incomplete beta function; `y` is 1 - x, given so that neither end
/// loses digits. `a` and `b` above 0.
#[must_use]
pub fn ln_incomplete_beta(a: f64, b: f64, x: f64, y: f64) -> f64 {
    if x <= 0.0 {
        f64::NEG_INFINITY
    } else if y <= 0.0 {
        0.0
    } else if x < (a + 1.0) / (a + b + 2.0) {
        ln_beta_fraction(a, b, x, y).min(0.0)
    } else {
        ln_1m_exp(ln_beta_fraction(b, a, y, x).min(0.0))
    }
}

/// ln I_x(a, b) by its continued fraction (Lentz; Numerical Recipes 6.4), good below the mean.
fn ln_beta_fraction(a: f64, b: f64, x: f64, y: f64) -> f64 {
    const TINY: f64 = 1e-300;
    let away_from_0 = |v: f64| if v.abs() < TINY { TINY } else { v };
    let mut c = 1.0;
    let mut d = 1.0 / away_from_0(1.0 - (a + b) * x / (a + 1.0));
    let mut fraction = d;
    for step in 1..=STEPS_MAX {
        let m = step as f64;
        let even = m * (b - m) * x / ((a - 1.0 + 2.0 * m) * (a + 2.0 * m));
        d = 1.0 / away_from_0(1.0 + even * d);
        c = away_from_0(1.0 + even / c);
        fraction *= d * c;
        let odd = -(a + m) * (a + b + m) * x / ((a + 2.0 * m) * (a + 1.0 + 2.0 * m));
        d = 1.0 / away_from_0(1.0 + odd * d);
        c = away_from_0(1.0 + odd / c);
        let change = d * c;
        fraction *= change;
        if (change - 1.0).abs() < 1e-15 {
            break;
        }
    }
    a * ln(x) + b * ln(y) - ln_beta(a, b) - ln(a) + ln(fraction)
}

/// ln P(X >= count) for a negative binomial of a mean and a variance of mean + dispersion x mean^2.
///
/// `count` need not be whole. `mean` and `dispersion` above 0.
#[must_use]
pub fn negative_binomial_upper(count: f64, mean: f64, dispersion: f64) -> f64 {
    if count <= 0.0 {
        return 0.0;
    }
    let shape = 1.0 / dispersion;
    let total = mean + shape;
    ln_incomplete_beta(count, shape, mean / total, shape / total)
}

/// ln P(X <= count) for the same.
#[must_use]
pub fn negative_binomial_lower(count: f64, mean: f64, dispersion: f64) -> f64 {
    if count < 0.0 {
        return f64::NEG_INFINITY;
    }
    let shape = 1.0 / dispersion;
    let total = mean + shape;
    ln_incomplete_beta(shape, count + 1.0, shape / total, mean / total)
}

/// The range from the `(1 - share) / 2` to the `(1 + share) / 2` quantile of a negative binomial: whole
/// counts.
#[must_use]
pub fn negative_binomial_range(mean: f64, dispersion: f64, share: f64) -> (f64, f64) {
    let below = |q: f64| {
        let ln_q = ln(q);
        let reaches = |count: f64| negative_binomial_lower(count, mean, dispersion) >= ln_q;
        // Both whole, so that halving ends.
        let (mut low, mut high) = (-1.0, libm::ceil(mean * 2.0).max(1.0));
        while !reaches(high) && high < 1e15 {
            (low, high) = (high, high * 2.0);
        }
        while high - low > 1.0 {
            let middle = libm::floor((low + high) / 2.0);
            if reaches(middle) {
                high = middle;
            } else {
                low = middle;
            }
        }
        high
    };
    (below((1.0 - share) / 2.0), below((1.0 + share) / 2.0))
}

/// ln P(K >= k) for k of n at probability `p`.
#[must_use]
pub fn binomial_upper(k: f64, n: f64, p: f64) -> f64 {
    if k <= 0.0 {
        0.0
    } else if k > n {
        f64::NEG_INFINITY
    } else {
        ln_incomplete_beta(k, n - k + 1.0, p, 1.0 - p)
    }
}

/// ln P(K <= k) for k of n at probability `p`.
#[must_use]
pub fn binomial_lower(k: f64, n: f64, p: f64) -> f64 {
    if k < 0.0 {
        f64::NEG_INFINITY
    } else if k >= n {
        0.0
    } else {
        ln_incomplete_beta(n - k, k + 1.0, 1.0 - p, p)
    }
}

/// ln P(K >= k) for k of n, where the probability varies from window to window with mean `p` and
/// intra-class correlation `rho` (both above 0, below 1).
///
/// `k` and `n` whole. Cost: up to the distance from k to where terms vanish.
#[must_use]
pub fn beta_binomial_upper(k: f64, n: f64, p: f64, rho: f64) -> f64 {
    if k <= 0.0 {
        0.0
    } else if k > n {
        f64::NEG_INFINITY
    } else {
        BetaBinomial::new(n, p, rho).upper(k)
    }
}

/// ln P(K <= k) for the same.
#[must_use]
pub fn beta_binomial_lower(k: f64, n: f64, p: f64, rho: f64) -> f64 {
    // The n - k that did not, each with probability 1 - p.
    beta_binomial_upper(n - k, n, 1.0 - p, rho)
}

struct BetaBinomial {
    n: f64,
    alpha: f64,
    beta: f64,
}

impl BetaBinomial {
    fn new(n: f64, p: f64, rho: f64) -> Self {
        let strength = (1.0 - rho) / rho;
        Self {
            n,
            alpha: p * strength,
            beta: (1.0 - p) * strength,
        }
    }

    /// ln P(K = k).
    fn ln_mass(&self, k: f64) -> f64 {
        let Self { n, alpha, beta } = *self;
        // ln of n over k, in the form that needs no large factorials taken from one another.
        let ln_choose = -ln(n + 1.0) - ln_beta(n - k + 1.0, k + 1.0);
        ln_choose + ln_beta(k + alpha, n - k + beta) - ln_beta(alpha, beta)
    }

    /// P(K = k + 1) / P(K = k).
    fn step(&self, k: f64) -> f64 {
        let Self { n, alpha, beta } = *self;
        (n - k) / (k + 1.0) * (k + alpha) / (n - k - 1.0 + beta)
    }

    fn upper(&self, k: f64) -> f64 {
        let mean = self.n * self.alpha / (self.alpha + self.beta);
        // Sum on the side of k that is away from the mean: fewer terms, no digits lost.
        if k > mean {
            self.sum_up(k)
        } else {
            ln_1m_exp(self.sum_down(k - 1.0).min(0.0))
        }
    }

    fn sum_up(&self, from: f64) -> f64 {
        let (mut term, mut sum, mut k) = (1.0, 0.0, from);
        while k <= self.n {
            sum += term;
            let ratio = self.step(k);
            term *= ratio;
            if ratio < 1.0 && term < sum * 1e-17 {
                break;
            }
            k += 1.0;
        }
        self.ln_mass(from) + ln(sum)
    }

    fn sum_down(&self, from: f64) -> f64 {
        let (mut term, mut sum, mut k) = (1.0, 0.0, from);
        while k >= 0.0 {
            sum += term;
            if k < 1.0 {
                break;
            }
            let ratio = 1.0 / self.step(k - 1.0);
            term *= ratio;
            if ratio < 1.0 && term < sum * 1e-17 {
                break;
            }
            k -= 1.0;
        }
        self.ln_mass(from) + ln(sum)
    }
}

/// ln P(Z >= z) of a standard normal.
#[must_use]
pub fn normal_upper(z: f64) -> f64 {
    if z < 25.0 {
        ln(0.5 * libm::erfc(z / std::f64::consts::SQRT_2))
    } else {
        // Mills' ratio, first three terms: exact to 10^-7 from here on.
        let square = z * z;
        let ratio = 1.0 - 1.0 / square + 3.0 / (square * square);
        -0.5 * square - 0.5 * ln(2.0 * std::f64::consts::PI) - ln(z) + ln(ratio)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// One line of `math/vectors.txt` is a name, arguments, and both tails.
    #[test]
    fn tails_agree_with_scipy() {
        for line in include_str!("math/vectors.txt")
            .lines()
            .filter(|line| !line.starts_with('#'))
        {
            let mut words = line.split_whitespace();
            let name = words.next().unwrap();
            let numbers: Vec<f64> = words.map(|word| word.parse().unwrap()).collect();
            let (lower, upper) = match (name, &numbers[..]) {
                ("binomial", &[k, n, p, ..]) => (binomial_lower(k, n, p), binomial_upper(k, n, p)),
                ("negative_binomial", &[count, mean, dispersion, ..]) => (
                    negative_binomial_lower(count, mean, dispersion),
                    negative_binomial_upper(count, mean, dispersion),
                ),
                ("beta_binomial", &[k, n, p, rho, ..]) => (
                    beta_binomial_lower(k, n, p, rho),
                    beta_binomial_upper(k, n, p, rho),
                ),
                ("normal", &[z, ..]) => (normal_upper(-z), normal_upper(z)),
                _ => panic!("no such distribution: {line}"),
            };
            for (found, expected) in [
                (lower, numbers[numbers.len() - 2]),
                (upper, numbers[numbers.len() - 1]),
            ] {
                let error = (found - expected).abs() / (1.0 + expected.abs());
                assert!(error < 1e-8, "{line}: {found}, not {expected}");
            }
        }
    }

    #[test]
    fn a_range_holds_its_share() {
        for (mean, dispersion) in [
            (0.01, 1.0),
            (1.7, 0.3),
            (3.0, 0.1),
            (200.3, 0.01),
            (5e4, 1e-4),
        ] {
            let (low, high) = negative_binomial_range(mean, dispersion, 0.99);
            assert!(low <= mean && mean <= high + 1.0);
            assert!(negative_binomial_lower(high, mean, dispersion) >= ln(0.995));
            assert!(negative_binomial_upper(high + 1.0, mean, dispersion) <= ln(0.005));
            assert!(low == 0.0 || negative_binomial_lower(low - 1.0, mean, dispersion) < ln(0.005));
        }
    }

    #[test]
    fn tails_never_rise() {
        let mut last = 0.0;
        for count in 1..500 {
            let now = negative_binomial_upper(f64::from(count), 20.0, 0.05);
            assert!(now < last, "at {count}");
            last = now;
        }
    }
}

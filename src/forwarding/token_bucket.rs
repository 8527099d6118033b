//! A limit on how often something is done.

/// A token bucket whose clock the caller reads: so many tokens a second, of which it holds so many.
#[derive(Clone, Copy, Debug)]
pub struct TokenBucket {
    cycles_per_token: u64,
    /// How many cycles fill the bucket.
    depth: u64,
    /// The point in time, in cycles, up to which tokens are spent.
    spent_until: u64,
}

impl TokenBucket {
    /// A full bucket of `burst` tokens that gets `per_second` new ones, for a clock of this many cycles a second.
    #[must_use]
    pub fn new(cycles_per_second: u64, per_second: u64, burst: u64) -> Self {
        let cycles_per_token = (cycles_per_second / per_second.max(1)).max(1);
        Self { cycles_per_token, depth: cycles_per_token.saturating_mul(burst), spent_until: 0 }
    }

    /// Takes a token, if there is one.
    #[inline]
    #[must_use]
    pub fn take(&mut self, now: u64) -> bool {
        let full = now.saturating_sub(self.depth);
        let spent = self.spent_until.max(full).saturating_add(self.cycles_per_token);
        let granted = spent <= now;
        if granted {
            self.spent_until = spent;
        }
        granted
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bucket_gives_its_burst_at_once_and_then_its_rate() {
        let mut bucket = TokenBucket::new(1_000_000, 100, 20);
        let start = 5_000_000;
        assert_eq!((0..1000).filter(|_| bucket.take(start)).count(), 20);
        let next = (0..1_000_000).step_by(1000).filter(|passed| bucket.take(start + passed)).count();
        assert!((99..=100).contains(&next), "{next} in the next second");
    }
}

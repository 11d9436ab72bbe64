//! One pair of brackets around what several shards send again (RFC 7313).
//!
//! Between BoRR and EoRR every shard must have walked its whole part, or the peer drops what it has
//! not heard again. Shards are asked in no common step and merge requests that come during a walk,
//! so their walks cannot be counted against each other; but all hear of the same requests, and a
//! walk answers every request before its begin. So a refresh ends once each shard has completed a
//! walk, begun inside the brackets, that answers the latest request any of them has begun to answer.

/// The refreshes of one family towards one peer.
#[derive(Debug, Default)]
pub(super) struct Brackets(Option<Open>);

/// A refresh under way.
#[derive(Debug)]
struct Open {
    /// The latest request a shard has begun to answer.
    request: u32,
    /// Nothing is said of it.
    silent: bool,
    /// By shard.
    walks: Vec<Walk>,
}

/// How far a shard is: requests, from 1.
#[derive(Debug, Clone, Copy, Default)]
struct Walk {
    /// Its latest walk answers those up to here.
    begun: u32,
    /// Its latest complete one.
    answered: u32,
}

impl Brackets {
    /// A shard begins to answer all requests up to `request`; whether a BoRR is due. A refresh that
    /// opens `silent` stays so.
    pub(super) fn begin(
        &mut self,
        (shard, shards): (usize, usize),
        request: u32,
        silent: bool,
    ) -> bool {
        let first = self.0.is_none();
        let new = || Open { request, silent, walks: vec![Walk::default(); shards] };
        let open = self.0.get_or_insert_with(new);
        open.request = open.request.max(request);
        if let Some(walk) = open.walks.get_mut(shard) {
            walk.begun = request;
        }
        first && !silent
    }

    /// A shard has sent its part; whether an EoRR is due.
    pub(super) fn end(&mut self, shard: usize) -> bool {
        let Some(open) = &mut self.0 else { return false };
        if let Some(walk) = open.walks.get_mut(shard) {
            walk.answered = walk.begun;
        }
        if open.walks.iter().any(|walk| walk.answered < open.request) {
            return false;
        }
        let silent = open.silent;
        self.0 = None;
        !silent
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_shard_opens_and_the_last_one_closes() {
        let mut brackets = Brackets::default();
        assert!(brackets.begin((1, 3), 1, false));
        assert!(!brackets.end(1));
        assert!(!brackets.begin((0, 3), 1, false));
        assert!(!brackets.begin((2, 3), 1, false));
        assert!(!brackets.end(2));
        assert!(brackets.end(0));
        assert!(brackets.begin((0, 3), 2, false), "and the next refresh likewise");
    }

    #[test]
    fn a_shard_that_merged_requests_leaves_nothing_open() {
        let mut brackets = Brackets::default();
        assert!(brackets.begin((0, 2), 1, false));
        assert!(!brackets.end(0));
        // The other one heard both requests before it could begin.
        assert!(!brackets.begin((1, 2), 2, false));
        assert!(!brackets.end(1), "the first shard has not answered the second request");
        assert!(!brackets.begin((0, 2), 2, false));
        assert!(brackets.end(0));
    }

    #[test]
    fn a_walk_begun_before_the_brackets_is_not_inside_them() {
        let mut brackets = Brackets::default();
        assert!(!brackets.end(1));
        assert!(brackets.begin((0, 2), 1, false));
        assert!(!brackets.end(0));
        assert!(!brackets.end(1), "it has begun nothing since");
        brackets.begin((1, 2), 1, false);
        assert!(brackets.end(1));
    }

    #[test]
    fn a_refresh_before_the_end_of_rib_goes_without_brackets_whole() {
        let mut brackets = Brackets::default();
        assert!(!brackets.begin((0, 2), 1, true));
        assert!(!brackets.begin((1, 2), 1, false));
        assert!(!brackets.end(0));
        assert!(!brackets.end(1));
        assert!(brackets.begin((1, 2), 2, false));
    }
}

use super::*;

impl Link for u32 {
    fn link(&self) -> u32 {
        *self
    }

    fn set_link(&mut self, to: u32) {
        *self = to;
    }
}

#[test]
fn places_are_used_again_and_chunks_keep_their_records() {
    let mut arena = Arena::default();
    let indices: Vec<u32> = (0..10_000u32).map(|value| arena.insert(value)).collect();
    assert!(indices.iter().zip(0..).all(|(index, value)| *arena.get(*index) == value));
    arena.remove(17);
    arena.remove(5000);
    assert_eq!(arena.used(), 9998);
    assert_eq!(arena.insert(1), 5000);
    assert_eq!(arena.insert(2), 17);
    assert_eq!(arena.insert(3), 10_000);
    assert_eq!(arena.end(), 10_001);
}

#[test]
fn an_empty_arena_gives_its_memory_back() {
    let mut arena = Arena::default();
    let (a, b) = (arena.insert(1), arena.insert(2));
    arena.remove(a);
    arena.remove(b);
    assert_eq!((arena.end(), arena.used()), (0, 0));
    assert_eq!(arena.insert(3), 0);
}

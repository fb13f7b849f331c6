//! A map of bounded size: the oldest keys go first.

use std::{
    borrow::Borrow,
    collections::{HashMap, VecDeque},
    hash::Hash,
};

#[derive(Debug)]
pub(super) struct Recent<K, V> {
    most: usize,
    values: HashMap<K, V>,
    order: VecDeque<K>,
}

impl<K: Clone + Eq + Hash, V> Recent<K, V> {
    /// A map of at most `most` keys.
    pub(super) fn of(most: usize) -> Self {
        Self { most, values: HashMap::new(), order: VecDeque::new() }
    }

    pub(super) fn get<Q: Eq + Hash + ?Sized>(&self, key: &Q) -> Option<&V>
    where
        K: Borrow<Q>,
    {
        self.values.get(key)
    }

    pub(super) fn get_mut<Q: Eq + Hash + ?Sized>(&mut self, key: &Q) -> Option<&mut V>
    where
        K: Borrow<Q>,
    {
        self.values.get_mut(key)
    }

    pub(super) fn remove<Q: Eq + Hash + ?Sized>(&mut self, key: &Q) -> Option<V>
    where
        K: Borrow<Q>,
    {
        let removed = self.values.remove(key);
        if removed.is_some() {
            self.order.retain(|known| known.borrow() != key);
        }
        removed
    }

    /// Sets a value, and returns the one that was.
    pub(super) fn insert(&mut self, key: K, value: V) -> Option<V> {
        let old = self.values.insert(key.clone(), value);
        if old.is_none() {
            self.order.push_back(key);
            self.shrink();
        }
        old
    }

    /// The value of a key, which is made if there is none.
    pub(super) fn entry(&mut self, key: K, make: impl FnOnce() -> V) -> &mut V {
        if !self.values.contains_key(&key) {
            self.order.push_back(key.clone());
            self.shrink();
        }
        self.values.entry(key).or_insert_with(make)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.values.is_empty()
    }

    /// The values, the oldest first.
    pub(super) fn values(&self) -> impl Iterator<Item = (&K, &V)> {
        self.order.iter().filter_map(|key| Some((key, self.values.get(key)?)))
    }

    pub(super) fn retain(&mut self, keep: impl Fn(&K, &V) -> bool) {
        self.values.retain(|key, value| keep(key, value));
        let values = &self.values;
        self.order.retain(|key| values.contains_key(key));
    }

    fn shrink(&mut self) {
        if self.order.len() > self.most
            && let Some(oldest) = self.order.pop_front()
        {
            self.values.remove(&oldest);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_keys_go_first() {
        let mut recent = Recent::of(2);
        for key in [1, 2, 1, 3] {
            recent.insert(key, key * 10);
        }
        *recent.entry(3, || 0) += 1;
        assert_eq!(recent.values().collect::<Vec<_>>(), [(&2, &20), (&3, &31)]);
        recent.remove(&2);
        recent.insert(4, 40);
        assert_eq!((recent.get(&3), recent.get(&2), recent.get(&4)), (Some(&31), None, Some(&40)));
    }
}

//! Embeddings without a model: each word adds to one dimension, chosen by its hash. Equal texts have equal vectors, and
//! texts that share words have similar ones.

use super::terms::words;

/// Letta pads every vector to this length, whatever its model's dimensions.
const LENGTH: usize = 4096;

/// The vector of a text, normalized, in its first `dimensions`.
pub(in crate::mock) fn of(text: &str, dimensions: usize) -> Vec<f32> {
    let mut vector = vec![0.0_f32; LENGTH];
    let dimensions = dimensions.clamp(1, LENGTH);
    for word in words(text) {
        let hash = word
            .bytes()
            .fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3));
        let place = usize::try_from(hash >> 1).unwrap_or_default() % dimensions;
        if let Some(component) = vector.get_mut(place) {
            *component += if hash & 1 == 0 { 1.0 } else { -1.0 };
        }
    }
    let length = vector.iter().map(|component| component * component).sum::<f32>().sqrt();
    if length > 0.0 {
        for component in &mut vector {
            *component /= length;
        }
    }
    vector
}

#[cfg(test)]
mod tests {
    use super::*;

    fn similarity(left: &str, right: &str) -> f32 {
        of(left, 1536).iter().zip(of(right, 1536)).map(|(left, right)| left * right).sum()
    }

    #[test]
    fn texts_that_share_words_are_similar() {
        assert!((similarity("Sam likes tea", "sam LIKES tea!") - 1.0).abs() < 1e-6);
        assert!(similarity("Sam likes tea", "Sam likes coffee") > similarity("Sam likes tea", "It rains"));
        assert_eq!(of("a b", 2)[2..], [0.0; LENGTH - 2]);
        assert_eq!(of("", 1536), [0.0; LENGTH]);
    }
}

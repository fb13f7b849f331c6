//! Random names for agents that are created without one.

use crate::entropy;

const ADJECTIVES: &[&str] = &[
    "Amber", "Brisk", "Calm", "Daring", "Eager", "Frosty", "Gentle", "Humble", "Ivory", "Jolly", "Keen", "Lively",
    "Mellow", "Nimble", "Olive", "Patient", "Quiet", "Radiant", "Steady", "Tidy", "Upbeat", "Velvet", "Witty", "Zesty",
];
const NOUNS: &[&str] = &[
    "Acorn", "Badger", "Cedar", "Dolphin", "Ember", "Falcon", "Glacier", "Harbor", "Island", "Juniper", "Kestrel",
    "Lantern", "Meadow", "Nebula", "Otter", "Pebble", "Quartz", "River", "Sparrow", "Thistle", "Umbra", "Valley",
    "Willow", "Yarrow",
];

/// Two words in camel case, such as `QuietRiver`.
pub(in crate::mock) fn random() -> String {
    let [first, second, ..] = entropy::public_bytes("name");
    let pick =
        |words: &[&'static str], byte: u8| words.get(usize::from(byte) % words.len()).copied().unwrap_or_default();
    format!("{}{}", pick(ADJECTIVES, first), pick(NOUNS, second))
}

//! The *Post Codes* table of a demonstration company: a postal code found here overwrites city, state and country.

/// Code, city, state, country.
const POST_CODES: &[(&str, &str, &str, &str)] = &[
    ("10115", "Berlin", "", "DE"),
    ("22417", "Hamburg 36", "", "DE"),
    ("80997", "München", "", "DE"),
    ("31772", "Atlanta", "GA", "US"),
    ("37125", "Miami", "FL", "US"),
    ("61236", "Chicago", "IL", "US"),
    ("98052", "Redmond", "WA", "US"),
    ("75008", "Paris", "", "FR"),
    ("1010", "Wien", "", "AT"),
    ("2000", "Antwerpen", "", "BE"),
    ("GU2 7XH", "Guildford", "", "GB"),
    ("WC1 3DG", "London", "", "GB"),
];

/// City, state and country of a postal code.
pub(super) fn find(code: &str) -> Option<(&'static str, &'static str, &'static str)> {
    POST_CODES.iter().find(|(known, ..)| *known == code).map(|(_, city, state, country)| (*city, *state, *country))
}

//! Texts as BC sees them: codes, lengths, phone numbers, e-mail addresses, enum members.

/// How a text is stored in a Code field: without outer blanks, each letter by its simple upper-case mapping.
///
/// Letters whose upper case is several characters (`ß`) stay as they are, and so do the two that would turn into ASCII
/// letters (`ı`, `ſ`): that is .NET's invariant mapping, and one text must never become the code of another.
#[must_use]
pub fn code(text: &str) -> String {
    text.trim().chars().map(upper).collect()
}

fn upper(letter: char) -> char {
    if letter.is_ascii() {
        return letter.to_ascii_uppercase();
    }
    let mut mapped = letter.to_uppercase();
    match (mapped.next(), mapped.next()) {
        (Some(single), None) if !single.is_ascii() => single,
        _ => letter,
    }
}

/// The length as BC counts it, in UTF-16 units.
pub(super) fn utf16_len(text: &str) -> usize {
    // Without this, every text of every record would be walked character by character.
    if text.is_ascii() { text.len() } else { text.encode_utf16().count() }
}

/// What BC dislikes about a phone number, if anything.
pub(super) fn phone_problem(text: &str) -> Option<&'static str> {
    text.chars()
        .any(char::is_alphabetic)
        .then_some("it has letters, which a phone number must not have; strip them, e.g. `… | without_letters`")
}

/// What BC dislikes about a list of e-mail addresses, if anything. Only what is certainly wrong is reported.
pub(super) fn email_problem(text: &str) -> Option<&'static str> {
    let wrong = "it is not an e-mail address (several are separated by `;`)";
    let mut addresses = text.split(';').map(str::trim).filter(|address| !address.is_empty()).peekable();
    if addresses.peek().is_none() && !text.is_empty() {
        return Some(wrong);
    }
    let plausible = |address: &str| match address.split_once('@') {
        Some((name, domain)) => {
            !name.is_empty()
                && !domain.is_empty()
                && !domain.contains('@')
                && !address.chars().any(|letter| letter.is_whitespace() || letter.is_control())
        }
        None => false,
    };
    (!addresses.all(plausible)).then_some(wrong)
}

/// The member of an enum that `text` names: as on the wire (`In_x0020_Review`) or decoded (`In Review`), case aside.
/// A blank text names the blank member.
pub(super) fn member<'a>(members: &'a [String], text: &str) -> Option<&'a String> {
    let wanted = if text.trim().is_empty() { " ".to_owned() } else { decoded(text.trim()) };
    members.iter().find(|member| decoded(member).eq_ignore_ascii_case(&wanted))
}

/// An enum member's name as people read it: `_x0020_` is a blank, and so on for any UTF-16 unit.
pub(super) fn decoded(member: &str) -> String {
    let mut out = String::with_capacity(member.len());
    let mut rest = member;
    while let Some(start) = rest.find("_x") {
        let unit = rest.get(start + 2..start + 6).and_then(|digits| u32::from_str_radix(digits, 16).ok());
        let closed = rest.get(start + 6..start + 7) == Some("_");
        if let Some(letter) = unit.and_then(char::from_u32).filter(|_| closed) {
            out.push_str(&rest[..start]);
            out.push(letter);
            rest = &rest[start + 7..];
        } else {
            out.push_str(&rest[..start + 2]);
            rest = &rest[start + 2..];
        }
    }
    out.push_str(rest);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_trimmed_and_upper_cased() {
        for (text, stored) in
            [(" so-1 ", "SO-1"), ("straße", "STRAßE"), ("çé ø", "ÇÉ Ø"), ("ı", "ı"), ("ſ", "ſ"), ("ж", "Ж"), ("ǆ", "Ǆ")]
        {
            assert_eq!(code(text), stored);
        }
    }

    #[test]
    fn lengths_are_counted_in_utf16_units() {
        assert_eq!(utf16_len("abc"), 3);
        assert_eq!(utf16_len("äöü"), 3);
        assert_eq!(utf16_len("😀"), 2);
    }

    #[test]
    fn members_are_found_by_wire_name_and_by_decoded_name() {
        let members: Vec<String> =
            ["_x0020_", "In_x0020_Review", "Non_x002D_Inventory", "Open"].map(ToOwned::to_owned).into();
        for (text, name) in [
            ("", "_x0020_"),
            (" ", "_x0020_"),
            ("_x0020_", "_x0020_"),
            ("In Review", "In_x0020_Review"),
            ("In_x0020_Review", "In_x0020_Review"),
            ("non-inventory", "Non_x002D_Inventory"),
            ("open", "Open"),
        ] {
            assert_eq!(member(&members, text).map(String::as_str), Some(name), "{text:?}");
        }
        assert_eq!(member(&members, "Closed"), None);
        assert_eq!(decoded("a_x1_x00e9_b_x"), "a_x1éb_x");
    }

    #[test]
    fn phone_numbers_and_addresses() {
        assert_eq!(phone_problem("+49 (201) 123-4 / 5"), None);
        assert!(phone_problem("123 ext 4").is_some());
        for good in ["", "a@b.example", "a@b; c@d.example;", "müller@exämple.de"] {
            assert_eq!(email_problem(good), None, "{good}");
        }
        for bad in ["a", "a@", "@b", "a@b@c", "a b@c", "a@b;c", ";", " "] {
            assert!(email_problem(bad).is_some(), "{bad}");
        }
    }
}

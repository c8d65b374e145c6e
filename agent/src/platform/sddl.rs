//! Access control lists as text, in Windows' language of security descriptors (SDDL).

use super::{Access, Readers};

/// The system, administrators of the machine and of its domain, who owns the file, and Windows' own
/// installer: whoever is one of them may do everything anyway.
const ADMINISTRATORS: [&str; 11] = [
    "SY",
    "S-1-5-18",
    "BA",
    "S-1-5-32-544",
    "LA",
    "DA",
    "EA",
    "OW",
    "S-1-3-4",
    "CO",
    "S-1-5-80-956008885-3418522649-1831038044-1853292631-2271478464",
];

/// Whoever is signed in at the device.
const INTERACTIVE: [&str; 2] = ["IU", "S-1-5-4"];

/// Rights by the letters that stand for them.
const RIGHTS: [(&str, u32); 21] = [
    ("GA", 0x1000_0000),
    ("GX", 0x2000_0000),
    ("GW", 0x4000_0000),
    ("GR", 0x8000_0000),
    ("FA", 0x001f_01ff),
    ("FR", 0x0012_0089),
    ("FW", 0x0012_0116),
    ("FX", 0x0012_00a0),
    ("CC", 0x1),
    ("DC", 0x2),
    ("LC", 0x4),
    ("SW", 0x8),
    ("RP", 0x10),
    ("WP", 0x20),
    ("DT", 0x40),
    ("LO", 0x80),
    ("CR", 0x100),
    ("SD", 0x1_0000),
    ("RC", 0x2_0000),
    ("WD", 0x4_0000),
    ("WO", 0x8_0000),
];

/// To read what is in a file.
const READ: u32 = 0x9000_0001;

/// To change what is in a file or folder, to delete it, or to say who may.
const WRITE: u32 = 0x500d_0046;

/// What others than administrators may do by `list`, the part of a descriptor that begins with `D:`. Those
/// whom the file is for by `readers` may read it.
pub(super) fn access_of_others(list: &str, readers: Readers) -> Access {
    // No list at all lets everybody do everything.
    let open = list.contains("NO_ACCESS_CONTROL");
    let mut access = Access { read: open, write: open };
    // What else has brackets, the conditions of entries, has fewer fields.
    for entry in list.split('(').skip(1) {
        let fields: Vec<_> = entry.split([';', ')']).collect();
        let [kind, flags, rights, _, _, who, ..] = fields[..] else { continue };
        let only_inherited = pairs(flags).any(|flag| flag == "IO");
        if !matches!(kind, "A" | "XA" | "OA") || only_inherited || ADMINISTRATORS.contains(&who) {
            continue;
        }
        let rights = mask(rights);
        let may_read = matches!(readers, Readers::User(_)) && INTERACTIVE.contains(&who)
            || readers == Readers::Everyone;
        access.read |= rights & READ != 0 && !may_read;
        access.write |= rights & WRITE != 0;
    }
    access
}

/// What is not understood counts as everything: a word too many is better than none.
fn mask(rights: &str) -> u32 {
    if let Some(digits) = rights.strip_prefix("0x") {
        return u32::from_str_radix(digits, 16).unwrap_or(u32::MAX);
    }
    let right = |pair: &str| {
        let known = RIGHTS.iter().find(|(letters, _)| *letters == pair);
        known.map_or(u32::MAX, |(_, right)| *right)
    };
    pairs(rights).map(right).fold(0, |all, right| all | right)
}

fn pairs(text: &str) -> impl Iterator<Item = &str> {
    (0..text.len()).step_by(2).map(|start| text.get(start..start + 2).unwrap_or("?"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_else_may_do_what_is_read_from_a_list() {
        let others = |list: &str, readers| {
            let Access { read, write } = access_of_others(list, readers);
            (read, write)
        };
        let (root, user) = (Readers::Root, Readers::User(None));
        for (list, expected) in [
            ("D:PAI(A;;FA;;;SY)(A;;FA;;;BA)(A;;FA;;;OW)", (false, false)),
            ("D:P(A;;FA;;;S-1-5-18)(A;;0x1f01ff;;;S-1-5-32-544)(A;;FA;;;S-1-3-4)", (false, false)),
            // As the installer has the folder.
            ("D:PAI(A;OICI;FA;;;SY)(A;OICI;FA;;;BA)(A;OICI;0x1200a9;;;BU)", (true, false)),
            // As below `C:\Program Files`.
            ("D:AI(A;ID;FA;;;SY)(A;ID;0x1200a9;;;BU)(A;OICIIOID;GA;;;BU)", (true, false)),
            ("D:(A;;FA;;;SY)(A;;0x1301bf;;;AU)", (true, true)),
            ("D:(A;;GR;;;WD)", (true, false)),
            ("D:(A;;LC;;;WD)", (false, true)),
            ("D:(A;;WD;;;S-1-5-21-1-2-3-1001)", (false, true)),
            ("D:(D;;FA;;;WD)(A;;FA;;;BA)", (false, false)),
            ("D:(XA;;FR;;;WD;(@User.clearance >= 1))", (true, false)),
            ("D:(A;;ZZ;;;WD)", (true, true)),
            ("D:NO_ACCESS_CONTROL", (true, true)),
            ("D:P", (false, false)),
            ("D:P(A;;FA;;;SY)(A;;FR;;;IU)", (true, false)),
        ] {
            assert_eq!(others(list, root), expected, "{list}");
        }
        assert_eq!(others("D:P(A;;FA;;;SY)(A;;FR;;;IU)", user), (false, false));
        assert_eq!(others("D:P(A;;FA;;;S-1-5-18)(A;;0x12008b;;;S-1-5-4)", user), (false, true));
        assert_eq!(others("D:P(A;;FA;;;SY)(A;;FR;;;IU)(A;;FR;;;BU)", user), (true, false));
    }
}

//! Operators that WGSL does not let stand side by side without parentheses. naga reads them all the same, by C's rules;
//! browsers refuse the module.

/// What a binary operator may stand beside, at one depth of parentheses.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Kind {
    Or,
    And,
    /// `&`, `|` or `^`: itself alone.
    Bits(char),
    Comparison,
    Shift,
    Arithmetic,
}

/// The first expression in which two operators need parentheses, or none. Operators that are also brackets of types or
/// unary are told apart by the spaces on both sides, as rustfmt would set them.
pub fn missing_parentheses(source: &str) -> Option<String> {
    // For each open parenthesis, the operators so far and where the expression begins.
    let mut open: Vec<(Vec<Kind>, usize)> = vec![(vec![], 0)];
    let text: String =
        source.lines().flat_map(|line| [line.split("//").next().unwrap_or(""), "\n"]).collect();
    let bytes = text.as_bytes();
    let mut at = 0;
    while at < bytes.len() {
        let (kind, length) = match operator(&text, at) {
            Some((kind, length)) => (Some(kind), length),
            None => (None, 1),
        };
        match bytes[at] {
            b'(' | b'[' => open.push((vec![], at)),
            b')' | b']' if open.len() > 1 => drop(open.pop()),
            b',' | b';' | b'{' | b'}' => *open.last_mut()? = (vec![], at),
            // What is assigned is an expression of its own.
            b'=' if kind.is_none() => *open.last_mut()? = (vec![], at),
            _ => {}
        }
        if let Some(kind) = kind {
            let (before, begins) = open.last_mut()?;
            if before.iter().any(|other| !together(*other, kind)) {
                return Some(text[*begins..].chars().take(160).collect());
            }
            before.push(kind);
        }
        at += length;
    }
    None
}

fn together(a: Kind, b: Kind) -> bool {
    let loose = |kind| matches!(kind, Kind::Or | Kind::And);
    match (a, b) {
        (Kind::Bits(_), _) | (_, Kind::Bits(_)) => a == b,
        (Kind::Shift, Kind::Shift | Kind::Arithmetic) | (Kind::Arithmetic, Kind::Shift) => false,
        // Two of them are together where `||` or `&&` is between, which is not looked at here.
        _ => !loose(a) || !loose(b) || a == b,
    }
}

/// The binary operator at a byte, with a space on both sides, and its length.
fn operator(text: &str, at: usize) -> Option<(Kind, usize)> {
    let before = at.checked_sub(1).and_then(|before| text.as_bytes().get(before))?;
    let word = text.get(at..)?.split_ascii_whitespace().next()?;
    if !before.is_ascii_whitespace() || text.as_bytes()[at].is_ascii_whitespace() {
        return None;
    }
    let kind = match word {
        "||" => Kind::Or,
        "&&" => Kind::And,
        "&" => Kind::Bits('&'),
        "|" => Kind::Bits('|'),
        "^" => Kind::Bits('^'),
        "==" | "!=" | "<" | ">" | "<=" | ">=" => Kind::Comparison,
        "<<" | ">>" => Kind::Shift,
        "+" | "-" | "*" | "/" | "%" => Kind::Arithmetic,
        _ => return None,
    };
    Some((kind, word.len()))
}

/// What needs parentheses is found, and nothing else is.
pub fn finds_what_is_missing() {
    for wrong in [
        "a || b && c",
        "x = a && b || c;",
        "f(a & b | c)",
        "a & b == c",
        "a + b & c",
        "a << b + c",
        "a[i + 1u >> 2u]",
    ] {
        assert!(missing_parentheses(wrong).is_some(), "{wrong}");
    }
    for right in [
        "(a || b) && c",
        "a && b && c == d + 1u",
        "let x = a & b; let y = a | c;",
        "f(a & b, a | c, a << b)",
        "(a & b) == (c << (d + 1u))",
        "var a: array<vec4<f32>>; // a || b && c",
        "x += a & b;",
        "for (var i = a >> 1u; i < b + 1u; i += 2u) { x = -a * -b; }",
    ] {
        assert_eq!(missing_parentheses(right), None, "{right}");
    }
}

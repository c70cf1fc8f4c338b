//! Themes: about a dozen semantic roles, a palette, and `inherits`.
//!
//! ```toml
//! inherits = "dark"          # another theme by name; left out: all roles must be given
//! [palette]
//! sea = "#6cb6ff"
//! [roles]
//! accent = "sea"             # a palette name, "#rrggbb", or "default" (the terminal's own colour)
//! bar = { fg = "#c8d0dc", bg = "#1d2430", bold = true }
//! ```

use std::collections::BTreeMap;

use ratatui::style::{Color, Modifier, Style};
use serde::Deserialize;

/// What a piece of text is, not how it looks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Role {
    /// Ordinary text, and the ground of the whole screen.
    Text,
    /// Labels, units, what matters less.
    Dim,
    /// Titles of panes and sections.
    Heading,
    /// Keys, and whatever has the focus.
    Accent,
    Info,
    Good,
    Warn,
    Bad,
    /// Over the limit, critical, danger.
    Critical,
    /// The header and footer bands.
    Bar,
    /// The line under the cursor.
    Cursor,
    /// Marked lines.
    Mark,
    /// A field being typed into.
    Input,
    /// The box around text other people or machines wrote.
    Fence,
    /// What is not to be believed: crossed out. Made from `dim` when a theme leaves it out.
    Struck,
    /// The piece of a record that a claim rests on. Made from `accent`, reversed, when a theme leaves it out.
    Evidence,
}

impl Role {
    pub const ALL: [Self; 16] = [
        Self::Text,
        Self::Dim,
        Self::Heading,
        Self::Accent,
        Self::Info,
        Self::Good,
        Self::Warn,
        Self::Bad,
        Self::Critical,
        Self::Bar,
        Self::Cursor,
        Self::Mark,
        Self::Input,
        Self::Fence,
        Self::Struck,
        Self::Evidence,
    ];

    pub fn word(self) -> &'static str {
        match self {
            Self::Text => "text",
            Self::Dim => "dim",
            Self::Heading => "heading",
            Self::Accent => "accent",
            Self::Info => "info",
            Self::Good => "good",
            Self::Warn => "warn",
            Self::Bad => "bad",
            Self::Critical => "critical",
            Self::Bar => "bar",
            Self::Cursor => "cursor",
            Self::Mark => "mark",
            Self::Input => "input",
            Self::Fence => "fence",
            Self::Struck => "struck",
            Self::Evidence => "evidence",
        }
    }

    fn parse(s: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|r| r.word() == s)
    }
}

/// A loaded theme: one style per role.
#[derive(Clone, Debug, PartialEq)]
pub struct Theme {
    pub name: String,
    styles: [Style; Role::ALL.len()],
}

/// How many colours the terminal can show.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Depth {
    True,
    Indexed,
    Sixteen,
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("theme {theme}: {what}")]
pub struct ThemeError {
    pub theme: String,
    pub what: String,
}

/// The themes that come with the program: name and TOML.
pub const BUNDLED: [(&str, &str); 6] = [
    ("dark", include_str!("../../themes/dark.toml")),
    ("light", include_str!("../../themes/light.toml")),
    ("high-contrast", include_str!("../../themes/high-contrast.toml")),
    ("deuteranopia", include_str!("../../themes/deuteranopia.toml")),
    ("tritanopia", include_str!("../../themes/tritanopia.toml")),
    ("mono", include_str!("../../themes/mono.toml")),
];

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ThemeFile {
    #[serde(default)]
    inherits: Option<String>,
    #[serde(default)]
    palette: BTreeMap<String, String>,
    #[serde(default)]
    roles: BTreeMap<String, RoleFile>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum RoleFile {
    Fg(String),
    Whole(WholeRole),
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields, default)]
struct WholeRole {
    fg: Option<String>,
    bg: Option<String>,
    bold: bool,
    dim: bool,
    italic: bool,
    underline: bool,
    reversed: bool,
    crossed: bool,
}

impl Theme {
    pub fn style(&self, role: Role) -> Style {
        self.styles[role as usize]
    }

    /// Loads by name: `more` (name, TOML) stands before the bundled ones.
    pub fn load(name: &str, more: &[(String, String)]) -> Result<Self, ThemeError> {
        Self::load_within(name, more, 0)
    }

    fn load_within(name: &str, more: &[(String, String)], depth: usize) -> Result<Self, ThemeError> {
        let fault = |what: String| ThemeError { theme: name.to_owned(), what };
        if depth > 8 {
            return Err(fault("it inherits from itself".into()));
        }
        // A user's `dark` may inherit the bundled `dark`.
        let own =
            more.iter().find(|(n, _)| n == name).map(|(_, t)| t.as_str()).filter(|_| depth == 0 || !is_bundled(name));
        let toml = own.or_else(|| BUNDLED.iter().find(|(n, _)| *n == name).map(|(_, t)| *t));
        let Some(toml) = toml else {
            let known: Vec<&str> =
                BUNDLED.iter().map(|(n, _)| *n).chain(more.iter().map(|(n, _)| n.as_str())).collect();
            return Err(fault(format!("there is no such theme; there are {}", known.join(", "))));
        };
        let file: ThemeFile = toml::from_str(toml).map_err(|e| fault(e.to_string()))?;
        let base = match &file.inherits {
            Some(parent) => Some(Self::load_within(parent, more, depth + 1)?),
            None => None,
        };
        let mut styles: [Option<Style>; Role::ALL.len()] = match base {
            Some(b) => {
                let mut styles = b.styles.map(Some);
                for (role, style) in made(&styles) {
                    // What the other theme did not give itself is made anew, from this theme's roles.
                    if styles[role as usize] == style {
                        styles[role as usize] = None;
                    }
                }
                styles
            }
            None => [None; Role::ALL.len()],
        };
        for (word, value) in &file.roles {
            let Some(role) = Role::parse(word) else {
                let known = Role::ALL.map(Role::word).join(", ");
                return Err(fault(format!("[roles] {word}: no such role; roles are {known}")));
            };
            let style = read_role(value, &file.palette).map_err(|e| fault(format!("[roles] {word}: {e}")))?;
            styles[role as usize] = Some(style);
        }
        for (role, style) in made(&styles) {
            styles[role as usize] = styles[role as usize].or(style);
        }
        let mut out = [Style::new(); Role::ALL.len()];
        for role in Role::ALL {
            let Some(style) = styles[role as usize] else {
                return Err(fault(format!("role {} is missing, and the theme inherits from none", role.word())));
            };
            out[role as usize] = style;
        }
        // Everything stands on the ground of `text` unless it has its own.
        let ground = out[Role::Text as usize];
        for style in &mut out {
            style.bg = style.bg.or(ground.bg);
            style.fg = style.fg.or(ground.fg);
        }
        Ok(Self { name: name.to_owned(), styles: out })
    }

    /// The same with colours the terminal has.
    #[must_use]
    pub fn at_depth(mut self, depth: Depth) -> Self {
        for style in &mut self.styles {
            style.fg = style.fg.map(|c| reduce(c, depth));
            style.bg = style.bg.map(|c| reduce(c, depth));
        }
        self
    }
}

/// Roles that a theme need not give, made from ones it must.
fn made(styles: &[Option<Style>; Role::ALL.len()]) -> [(Role, Option<Style>); 2] {
    let from = |base: Role, how: Modifier| styles[base as usize].map(|s| s.add_modifier(how));
    [
        (Role::Struck, from(Role::Dim, Modifier::CROSSED_OUT)),
        (Role::Evidence, from(Role::Accent, Modifier::REVERSED | Modifier::BOLD)),
    ]
}

fn is_bundled(name: &str) -> bool {
    BUNDLED.iter().any(|(n, _)| *n == name)
}

fn read_role(value: &RoleFile, palette: &BTreeMap<String, String>) -> Result<Style, String> {
    let whole = match value {
        RoleFile::Fg(fg) => &WholeRole { fg: Some(fg.clone()), ..WholeRole::default() },
        RoleFile::Whole(w) => w,
    };
    let mut style = Style::new();
    style.fg = whole.fg.as_deref().map(|c| colour(c, palette)).transpose()?;
    style.bg = whole.bg.as_deref().map(|c| colour(c, palette)).transpose()?;
    for (on, modifier) in [
        (whole.bold, Modifier::BOLD),
        (whole.dim, Modifier::DIM),
        (whole.italic, Modifier::ITALIC),
        (whole.underline, Modifier::UNDERLINED),
        (whole.reversed, Modifier::REVERSED),
        (whole.crossed, Modifier::CROSSED_OUT),
    ] {
        if on {
            style = style.add_modifier(modifier);
        }
    }
    Ok(style)
}

fn colour(text: &str, palette: &BTreeMap<String, String>) -> Result<Color, String> {
    if text == "default" {
        return Ok(Color::Reset);
    }
    let hex = if text.starts_with('#') { text } else { palette.get(text).map_or("", String::as_str) };
    let digits = hex.strip_prefix('#').filter(|d| d.len() == 6 && d.is_ascii());
    let rgb = digits.and_then(|d| u32::from_str_radix(d, 16).ok());
    match rgb {
        Some(v) => Ok(Color::Rgb((v >> 16) as u8, (v >> 8) as u8, v as u8)),
        None => Err(format!("{text:?} is neither a palette name, \"#rrggbb\" nor \"default\"")),
    }
}

fn reduce(c: Color, depth: Depth) -> Color {
    let Color::Rgb(r, g, b) = c else { return c };
    match depth {
        Depth::True => c,
        Depth::Indexed => Color::Indexed(nearest_256(r, g, b)),
        Depth::Sixteen => nearest_16(r, g, b),
    }
}

/// The xterm cube (16 to 231) and grey ramp (232 to 255).
fn nearest_256(r: u8, g: u8, b: u8) -> u8 {
    const STEPS: [i32; 6] = [0, 95, 135, 175, 215, 255];
    let step = |v: u8| (0..6).min_by_key(|i| (STEPS[*i as usize] - i32::from(v)).abs()).unwrap_or(0) as u8;
    let (ri, gi, bi) = (step(r), step(g), step(b));
    let dist = |x: (i32, i32, i32)| {
        let (dr, dg, db) = (x.0 - i32::from(r), x.1 - i32::from(g), x.2 - i32::from(b));
        dr * dr + dg * dg + db * db
    };
    let cube = (STEPS[ri as usize], STEPS[gi as usize], STEPS[bi as usize]);
    let grey_index = ((i32::from(r) + i32::from(g) + i32::from(b)) / 3 - 8).clamp(0, 230) / 10;
    let grey = 8 + 10 * grey_index;
    if dist((grey, grey, grey)) < dist(cube) { 232 + grey_index as u8 } else { 16 + 36 * ri + 6 * gi + bi }
}

fn nearest_16(r: u8, g: u8, b: u8) -> Color {
    const TABLE: [(Color, (i32, i32, i32)); 16] = [
        (Color::Black, (0, 0, 0)),
        (Color::Red, (170, 0, 0)),
        (Color::Green, (0, 170, 0)),
        (Color::Yellow, (170, 85, 0)),
        (Color::Blue, (0, 0, 170)),
        (Color::Magenta, (170, 0, 170)),
        (Color::Cyan, (0, 170, 170)),
        (Color::Gray, (170, 170, 170)),
        (Color::DarkGray, (85, 85, 85)),
        (Color::LightRed, (255, 85, 85)),
        (Color::LightGreen, (85, 255, 85)),
        (Color::LightYellow, (255, 255, 85)),
        (Color::LightBlue, (85, 85, 255)),
        (Color::LightMagenta, (255, 85, 255)),
        (Color::LightCyan, (85, 255, 255)),
        (Color::White, (255, 255, 255)),
    ];
    let dist = |x: (i32, i32, i32)| {
        let (dr, dg, db) = (x.0 - i32::from(r), x.1 - i32::from(g), x.2 - i32::from(b));
        dr * dr + dg * dg + db * db
    };
    TABLE.iter().min_by_key(|(_, v)| dist(*v)).map_or(Color::Reset, |(c, _)| *c)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// WCAG 2.2 relative luminance and contrast ratio.
    fn luminance(c: Color) -> f64 {
        let Color::Rgb(r, g, b) = c else { panic!("{c:?} has no luminance") };
        let lin = |v: u8| {
            let v = f64::from(v) / 255.0;
            if v <= 0.04045 { v / 12.92 } else { ((v + 0.055) / 1.055).powf(2.4) }
        };
        0.2126 * lin(r) + 0.7152 * lin(g) + 0.0722 * lin(b)
    }

    fn contrast(a: Color, b: Color) -> f64 {
        let (a, b) = (luminance(a), luminance(b));
        (a.max(b) + 0.05) / (a.min(b) + 0.05)
    }

    #[test]
    fn every_bundled_theme_loads() {
        for (name, _) in BUNDLED {
            Theme::load(name, &[]).unwrap_or_else(|e| panic!("{e}"));
        }
    }

    #[test]
    fn text_is_readable_on_every_ground_it_stands_on() {
        for (name, _) in BUNDLED {
            if name == "mono" {
                continue;
            }
            let t = Theme::load(name, &[]).unwrap();
            let floor = if name == "high-contrast" { 7.0 } else { 4.5 };
            for role in Role::ALL {
                let s = t.style(role);
                let own = contrast(s.fg.unwrap(), s.bg.unwrap());
                assert!(own >= floor, "{name} {}: {own:.2} on its own ground", role.word());
                // Cells of the line under the cursor keep their own colour, but not roles with a ground of their own.
                if s.bg == t.style(Role::Text).bg {
                    for ground in [Role::Cursor, Role::Bar] {
                        let on = contrast(s.fg.unwrap(), t.style(ground).bg.unwrap());
                        assert!(on >= floor * 0.9, "{name} {}: {on:.2} on {}", role.word(), ground.word());
                    }
                }
            }
        }
    }

    #[test]
    fn mono_uses_no_colour_at_all() {
        let t = Theme::load("mono", &[]).unwrap();
        for role in Role::ALL {
            assert_eq!(t.style(role).fg, Some(Color::Reset));
            assert_eq!(t.style(role).bg, Some(Color::Reset));
        }
        assert!(t.style(Role::Cursor).add_modifier.contains(Modifier::REVERSED));
    }

    /// Vienot, Brettel, Mollon 1999 (protan, deutan) and a Brettel half-plane (tritan), in linear RGB.
    fn simulate(c: Color, m: [[f64; 3]; 3]) -> [f64; 3] {
        let Color::Rgb(r, g, b) = c else { panic!("rgb") };
        let lin = [r, g, b].map(|v| (f64::from(v) / 255.0).powf(2.2));
        m.map(|row| (row[0] * lin[0] + row[1] * lin[1] + row[2] * lin[2]).clamp(0.0, 1.0).powf(1.0 / 2.2) * 255.0)
    }

    #[test]
    fn states_stay_apart_for_the_eyes_a_theme_is_made_for() {
        let deutan = [[0.29275, 0.70725, 0.0], [0.29275, 0.70725, 0.0], [-0.02234, 0.02234, 1.0]];
        let tritan = [[1.0, 0.14461, -0.14461], [0.0, 0.85924, 0.14076], [0.0, 0.85924, 0.14076]];
        for (name, m) in [("deuteranopia", deutan), ("tritanopia", tritan)] {
            let t = Theme::load(name, &[]).unwrap();
            let roles = [Role::Good, Role::Warn, Role::Bad];
            for (i, a) in roles.iter().enumerate() {
                for b in &roles[i + 1..] {
                    let (x, y) = (simulate(t.style(*a).fg.unwrap(), m), simulate(t.style(*b).fg.unwrap(), m));
                    let d: f64 = x.iter().zip(y).map(|(p, q)| (p - q).powi(2)).sum::<f64>().sqrt();
                    assert!(d > 60.0, "{name}: {} and {} are {d:.0} apart", a.word(), b.word());
                }
            }
        }
    }

    #[test]
    fn faults_are_named() {
        let bad = |toml: &str| Theme::load("mine", &[("mine".into(), toml.into())]).unwrap_err().to_string();
        assert!(bad("inherits = \"dark\"\n[roles]\nacent = \"#ffffff\"\n").contains("no such role"));
        assert!(bad("inherits = \"dark\"\n[roles]\naccent = \"blurple\"\n").contains("blurple"));
        assert!(bad("[roles]\naccent = \"#ffffff\"\n").contains("missing"));
        assert!(bad("inherits = \"mine\"\n").contains("itself"));
        assert!(Theme::load("nope", &[]).unwrap_err().to_string().contains("high-contrast"));
    }

    #[test]
    fn inherits_and_overrides() {
        let mine = [("mine".to_owned(), "inherits = \"dark\"\n[roles]\naccent = \"#010203\"\n".to_owned())];
        let t = Theme::load("mine", &mine).unwrap();
        assert_eq!(t.style(Role::Accent).fg, Some(Color::Rgb(1, 2, 3)));
        assert_eq!(t.style(Role::Good), Theme::load("dark", &[]).unwrap().style(Role::Good));
    }

    #[test]
    fn colours_reduce() {
        assert_eq!(nearest_256(255, 255, 255), 231);
        assert_eq!(nearest_256(0, 0, 0), 16);
        assert_eq!(nearest_16(250, 80, 90), Color::LightRed);
        let t = Theme::load("dark", &[]).unwrap().at_depth(Depth::Sixteen);
        assert!(!matches!(t.style(Role::Bad).fg, Some(Color::Rgb(..))));
    }
}

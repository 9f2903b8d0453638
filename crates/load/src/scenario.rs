//! Scenarios: what kind of crowd comes, when, and to what sale, as a TOML file. Those that are shipped are in
//! `scenarios/`; what they stand for and why each number is as it is: docs/load.md.

use super::{
    Behaviour, LoadError, Threshold, WishKind,
    arrivals::{self, Wave},
    attack::Attackers,
    behaviour::{parse_counts, parse_duration, parse_durations},
    threshold::parse_threshold,
};
use serde::{Deserialize, Deserializer, de::Error};
use std::{fs, path::Path, time::Duration};
use wire::domain::sample_plan::SEATS_MAX;

/// The shipped ones, by name.
const SHIPPED: [(&str, &str); 9] = [
    ("opening", include_str!("../scenarios/opening.toml")),
    ("worldcup", include_str!("../scenarios/worldcup.toml")),
    ("steady", include_str!("../scenarios/steady.toml")),
    ("impatient", include_str!("../scenarios/impatient.toml")),
    ("no-show", include_str!("../scenarios/no-show.toml")),
    ("hot-seats", include_str!("../scenarios/hot-seats.toml")),
    ("reconnect-herd", include_str!("../scenarios/reconnect-herd.toml")),
    ("bots", include_str!("../scenarios/bots.toml")),
    ("rush", include_str!("../scenarios/rush.toml")),
];
/// The trace that is shipped with them.
const WORLDCUP: (&str, &str) =
    ("worldcup98-1998-06-30.csv", include_str!("../../../data/worldcup98-1998-06-30.csv"));

/// Shares are relative to each other: no sum of them may be infinite.
const SHARE_MAX: f64 = 1e9;

/// A scenario, ready to be played.
#[derive(Clone, Debug)]
pub struct Scenario {
    /// Its name.
    pub name: String,
    /// How many visitors.
    pub visitors: usize,
    /// When they arrive.
    pub arrivals: Vec<Wave>,
    /// How they behave.
    pub behaviour: Behaviour,
    /// Who attacks meanwhile.
    pub attackers: Attackers,
    /// How long the run may go on after the last arrival.
    pub timeout: Duration,
    /// What must hold.
    pub thresholds: Vec<Threshold>,
    /// The sale that it is meant for.
    pub sale: Option<SaleWanted>,
}

impl Default for Scenario {
    /// Two thousand visitors within five seconds.
    fn default() -> Self {
        Self {
            name: "plain".into(),
            visitors: 2000,
            arrivals: arrivals::ramp(Duration::from_secs(5)),
            behaviour: Behaviour::default(),
            attackers: Attackers::default(),
            timeout: Duration::from_secs(120),
            thresholds: Vec::new(),
            sale: None,
        }
    }
}

/// The sale that a scenario is meant for; made where there is none of the name.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SaleWanted {
    /// Seats of a made-up hall.
    pub seats: u32,
    /// Admissions a second.
    pub rate: f64,
    /// Live grants at once.
    pub max_active: u32,
    /// How long a grant lives, in seconds.
    pub grant_ttl_s: u32,
    /// How soon it must be used first, in seconds.
    pub claim_s: Option<u32>,
    /// Seats a visitor may book.
    pub max_seats: u32,
    /// When it opens, after the run began.
    #[serde(default, deserialize_with = "duration")]
    pub opens_after: Duration,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    /// For people.
    #[serde(rename = "about")]
    _about: String,
    visitors: usize,
    #[serde(deserialize_with = "duration")]
    timeout: Duration,
    #[serde(default)]
    arrivals: Vec<Arrivals>,
    trace: Option<Trace>,
    people: People,
    sale: Option<SaleWanted>,
    #[serde(default)]
    attackers: Attackers,
    #[serde(default)]
    thresholds: Vec<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Arrivals {
    share: f64,
    #[serde(default, deserialize_with = "duration")]
    from: Duration,
    #[serde(deserialize_with = "duration")]
    over: Duration,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Trace {
    file: String,
    #[serde(deserialize_with = "duration")]
    over: Duration,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct People {
    seats: Option<String>,
    wish: Option<WishKind>,
    think: Option<String>,
    leave: f64,
    vanish: f64,
    second_tab: f64,
    no_show: f64,
    bots: f64,
    whim: Option<String>,
    absence: Option<String>,
    cut_all_after: Option<String>,
}

fn duration<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
    parse_duration(&String::deserialize(deserializer)?).map_err(D::Error::custom)
}

impl Scenario {
    /// The names of those that are shipped.
    pub fn shipped() -> String {
        SHIPPED.map(|(name, _)| name).join(", ")
    }

    /// One that is shipped, by its name, or else one in a file.
    ///
    /// # Errors
    /// There is none, it cannot be read, or it says nonsense: which key, and what to write.
    pub fn load(name: &str) -> Result<Self, LoadError> {
        if let Some((name, text)) = SHIPPED.iter().find(|(shipped, _)| *shipped == name) {
            return Self::parse(name, text, Path::new("")).map_err(LoadError::Usage);
        }
        let path = Path::new(name);
        let text = fs::read_to_string(path).map_err(|error| match error.kind() {
            std::io::ErrorKind::NotFound => {
                LoadError::Usage(format!("--scenario {name}: neither a file nor one of {}", Self::shipped()))
            }
            _ => LoadError::File { path: name.into(), source: error },
        })?;
        let stem = path.file_stem().map_or(name.into(), |stem| stem.to_string_lossy());
        let folder = path.parent().unwrap_or(Path::new(""));
        Self::parse(&stem, &text, folder).map_err(|fault| LoadError::Usage(format!("{name}: {fault}")))
    }

    /// One from its text; `folder` is where a trace that it names is looked for.
    ///
    /// # Errors
    /// It says nonsense: which key, and what to write.
    pub fn parse(name: &str, text: &str, folder: &Path) -> Result<Self, String> {
        let file: File = toml::from_str(text).map_err(|error| error.to_string())?;
        if file.visitors == 0 {
            return Err("visitors: must be at least 1".into());
        }
        if let Some(sale) = file.sale.as_ref().filter(|sale| !(1..=SEATS_MAX).contains(&sale.seats)) {
            return Err(format!("sale.seats: {} is not from 1 to {SEATS_MAX}", sale.seats));
        }
        let arrivals = match (file.trace, file.arrivals.is_empty()) {
            (Some(trace), true) => read_trace(&trace, folder)?,
            (None, false) => waves(&file.arrivals)?,
            _ => return Err("give either [[arrivals]] or [trace]".into()),
        };
        let thresholds = file
            .thresholds
            .iter()
            .map(|t| parse_threshold(t).map_err(|fault| format!("thresholds: {fault}")));
        Ok(Self {
            name: name.into(),
            visitors: file.visitors,
            arrivals,
            behaviour: behaviour(&file.people)?,
            attackers: file.attackers,
            timeout: file.timeout,
            thresholds: thresholds.filter_map(Result::transpose).collect::<Result<_, String>>()?,
            sale: file.sale,
        })
    }

    /// Plays the arrivals `factor` times as slowly, and what is to happen in their midst.
    pub fn stretch(&mut self, factor: f64) {
        if let Some(sale) = &mut self.sale {
            sale.opens_after = sale.opens_after.mul_f64(factor);
        }
        self.behaviour.herd = self.behaviour.herd.map(|after| after.mul_f64(factor));
        for wave in &mut self.arrivals {
            (wave.from, wave.over) = (wave.from.mul_f64(factor), wave.over.mul_f64(factor));
        }
    }
}

fn waves(arrivals: &[Arrivals]) -> Result<Vec<Wave>, String> {
    if arrivals.iter().any(|wave| !(wave.share > 0.0 && wave.share <= SHARE_MAX)) {
        return Err(format!("arrivals.share: must be above 0 and at most {SHARE_MAX}"));
    }
    let wave = |a: &Arrivals| Wave { weight: a.share, from: a.from, over: a.over };
    Ok(arrivals.iter().map(wave).collect())
}

fn read_trace(trace: &Trace, folder: &Path) -> Result<Vec<Wave>, String> {
    let (shipped, table) = WORLDCUP;
    let fault = |why: String| format!("trace.file {}: {why}", trace.file);
    if trace.file == shipped {
        return arrivals::trace(table, trace.over).map_err(fault);
    }
    let table = fs::read_to_string(folder.join(&trace.file)).map_err(|error| fault(error.to_string()))?;
    arrivals::trace(&table, trace.over).map_err(fault)
}

fn behaviour(people: &People) -> Result<Behaviour, String> {
    let mut behaviour = Behaviour::default();
    for (key, chance) in [
        ("leave", people.leave),
        ("vanish", people.vanish),
        ("second_tab", people.second_tab),
        ("no_show", people.no_show),
        ("bots", people.bots),
    ] {
        if !(0.0..=1.0).contains(&chance) {
            return Err(format!("people.{key}: {chance} is not from 0 to 1"));
        }
    }
    (behaviour.leave_chance, behaviour.vanish_chance) = (people.leave, people.vanish);
    (behaviour.second_tab_chance, behaviour.no_show_chance) = (people.second_tab, people.no_show);
    behaviour.bot_share = people.bots;
    behaviour.wish = people.wish.unwrap_or(behaviour.wish);
    if let Some(seats) = &people.seats {
        behaviour.seats = parse_counts(seats).map_err(|fault| format!("people.seats: {fault}"))?;
    }
    for (key, text, value) in [
        ("think", &people.think, &mut behaviour.think),
        ("whim", &people.whim, &mut behaviour.whim),
        ("absence", &people.absence, &mut behaviour.absence),
    ] {
        if let Some(text) = text {
            *value = parse_durations(text).map_err(|fault| format!("people.{key}: {fault}"))?;
        }
    }
    let herd = people.cut_all_after.as_deref().map(parse_duration).transpose();
    behaviour.herd = herd.map_err(|fault| format!("people.cut_all_after: {fault}"))?;
    Ok(behaviour)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_shipped_scenario_can_be_played() {
        for (name, _) in SHIPPED {
            let scenario = Scenario::load(name).unwrap();
            assert!(scenario.sale.is_some() && !scenario.thresholds.is_empty(), "{name}");
            let end = arrivals::end(&scenario.arrivals) + scenario.timeout;
            assert!(end < Duration::from_secs(600), "{name} may take {end:?}");
        }
        assert_eq!(Scenario::load("worldcup").unwrap().arrivals.len(), 599);
    }

    #[test]
    fn nonsense_is_refused_with_its_key() {
        let good =
            "about = 'x'\nvisitors = 9\ntimeout = '1s'\n[[arrivals]]\nshare = 1\nover = '1s'\n[people]\n";
        let parse = |text: &str| Scenario::parse("x", text, Path::new("")).map(|_| ()).unwrap_err();
        assert!(Scenario::parse("x", good, Path::new("")).is_ok());
        for (from, to, key) in [
            ("visitors = 9", "visitors = 0", "visitors"),
            ("visitors = 9", "visitors = 9\nvisitor = 1", "visitor"),
            ("over = '1s'", "over = '1'", "no duration"),
            ("share = 1", "share = 0", "arrivals.share"),
            ("[people]\n", "[people]\nvanish = 2\n", "people.vanish"),
            ("[people]\n", "[people]\nseats = '2..1'\n", "people.seats"),
            ("[people]\n", "[people]\nwish = 'aisle'\n", "wish"),
            ("timeout = '1s'", "timeout = '1s'\nthresholds = ['nap_p99<1s']", "thresholds"),
            ("[people]\n", "[people]\n[trace]\nfile = 'x'\nover = '1s'\n", "either"),
            ("[[arrivals]]\nshare = 1\nover = '1s'\n", "[trace]\nfile = 'no.csv'\nover = '1s'\n", "no.csv"),
        ] {
            let fault = parse(&good.replace(from, to));
            assert!(fault.contains(key), "{to}: {fault}");
        }
        assert!(matches!(Scenario::load("no-such"), Err(LoadError::Usage(_))));
    }
}

//! `[deployments.NAME.network]`: a simulated network that is more than a latency.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::Deserialize;

use super::link_section::LinkSection;
use super::{ConfigError, LATENCY_MS_MAX};
use crate::network::{LinkProfile, Lost, Preset, Profile, Samples, Shape, TimeSeries};

/// The section.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NetworkSection {
    /// A network with a name, which the other keys change.
    pub preset: Option<String>,
    /// What every random decision is drawn from. Default 0.
    pub seed: Option<u64>,
    /// The link's name: with the same seed, links of different names decide differently. Default: the deployment's name.
    pub link: Option<String>,
    /// What a loss means for the requester, both ways. Default `silence`.
    pub lost: Option<LostChoice>,
    /// From the sensor to the model.
    pub uplink: Option<LinkSection>,
    /// From the model to the sensor.
    pub downlink: Option<LinkSection>,
}

/// What a loss means for the requester.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LostChoice {
    /// It hears nothing.
    Silence,
    /// It gets an error `NETWORK_LOST` when the message would have arrived.
    Report,
}

impl From<LostChoice> for Lost {
    fn from(choice: LostChoice) -> Self {
        match choice {
            LostChoice::Silence => Self::Silence,
            LostChoice::Report => Self::Report,
        }
    }
}

/// What is wrong with a section: the key within it, and the problem.
pub(super) type Fault = (String, String);

/// Where recorded delays come from: the files, or nowhere while a file is only checked.
pub(super) enum Recordings {
    /// Nothing is read; whatever a file says is taken as sound.
    Unread,
    /// They are read.
    Read,
}

impl NetworkSection {
    /// Makes paths relative to `directory`.
    pub(super) fn resolve_paths(&mut self, directory: &Path) {
        let links = [&mut self.uplink, &mut self.downlink];
        links.into_iter().flatten().for_each(|link| link.resolve_paths(directory));
    }

    /// Values that parse but make no sense.
    pub(super) fn check(&self) -> Result<(), Fault> {
        self.shape("", &Recordings::Unread).map(|_| ())
    }

    /// The profile that it describes, for the deployment `name`.
    pub(super) fn profile(&self, name: &str) -> Result<Profile, ConfigError> {
        self.shape(name, &Recordings::Read).map(Profile::shaped).map_err(|(key, problem)| {
            let key = format!("deployments.{name}.network.{key}");
            ConfigError::Override { origin: format!("`{key}`"), problem }
        })
    }

    fn shape(&self, name: &str, recordings: &Recordings) -> Result<Shape, Fault> {
        let (mut uplink, mut downlink) = match &self.preset {
            Some(name) => preset(name)?.links(),
            None => (LinkProfile::default(), LinkProfile::default()),
        };
        for (key, section, link) in
            [("uplink", &self.uplink, &mut uplink), ("downlink", &self.downlink, &mut downlink)]
        {
            link.lost = self.lost.map_or(link.lost, Lost::from);
            if let Some(section) = section {
                section
                    .apply(link, recordings)
                    .map_err(|(inner, problem)| (format!("{key}.{inner}"), problem))?;
            }
        }
        let link = self.link.clone().unwrap_or_else(|| name.to_owned());
        Ok(Shape { seed: self.seed.unwrap_or_default(), link, uplink, downlink })
    }
}

fn preset(name: &str) -> Result<&'static Preset, Fault> {
    Preset::named(name).ok_or_else(|| {
        let known = Preset::ALL.map(|preset| preset.name);
        let hint = crate::strict_toml::closest(name, known)
            .map(|known| format!("; did you mean {known:?}?"))
            .unwrap_or_default();
        let problem = format!("found {name:?}, expected one of {}{hint}", known.join(", "));
        ("preset".to_owned(), problem)
    })
}

impl Recordings {
    pub(super) fn samples(&self, path: &Path) -> Result<Arc<Samples>, String> {
        let text = self.text(path, "0")?;
        Samples::parse(&text).map(Arc::new).map_err(|error| format!("{}, {error}", path.display()))
    }

    pub(super) fn series(&self, path: &Path) -> Result<Arc<TimeSeries>, String> {
        let text = self.text(path, "0,0")?;
        TimeSeries::parse(&text).map(Arc::new).map_err(|error| format!("{}, {error}", path.display()))
    }

    fn text(&self, path: &Path, stand_in: &str) -> Result<String, String> {
        match self {
            Self::Unread => Ok(stand_in.to_owned()),
            Self::Read => super::read(path).map_err(|error| error.to_string()),
        }
    }
}

/// `one_way_latency_ms` and a network contradict each other.
pub(super) fn both_given() -> String {
    format!(
        "there is a one_way_latency_ms too; use one or the other \
         (delay = {{ model = \"constant\", ms = 50 }}, at most {LATENCY_MS_MAX} ms)"
    )
}

/// Joins a path onto the directory of the file that names it.
pub(super) fn resolve(path: &mut PathBuf, directory: &Path) {
    *path = directory.join(&*path);
}

//! Reading profiles: the built-in files, and those of a folder, which add to them or stand in for one of the same name.
//!
//! Everything is checked when it is read: unknown keys, bad names, factors out of range and two files of one name are
//! errors that name the file, so that a typing error is no silent change of behaviour.

use std::path::{Path, PathBuf};
use std::sync::{Arc, LazyLock};

use super::{GENERIC, Profile, Profiles, Stretch};

/// The built-in files.
const BUILTIN: &[(&str, &str)] = &[
    ("ami-megarac.toml", include_str!("../profiles/ami-megarac.toml")),
    ("cisco-cimc.toml", include_str!("../profiles/cisco-cimc.toml")),
    ("dell-idrac10.toml", include_str!("../profiles/dell-idrac10.toml")),
    ("dell-idrac8.toml", include_str!("../profiles/dell-idrac8.toml")),
    ("dell-idrac9-old.toml", include_str!("../profiles/dell-idrac9-old.toml")),
    ("dell-idrac9.toml", include_str!("../profiles/dell-idrac9.toml")),
    ("fujitsu-irmc.toml", include_str!("../profiles/fujitsu-irmc.toml")),
    ("hpe-ilo.toml", include_str!("../profiles/hpe-ilo.toml")),
    ("hpe-ilo4.toml", include_str!("../profiles/hpe-ilo4.toml")),
    ("huawei-ibmc.toml", include_str!("../profiles/huawei-ibmc.toml")),
    ("lenovo-xcc.toml", include_str!("../profiles/lenovo-xcc.toml")),
    ("nokia.toml", include_str!("../profiles/nokia.toml")),
    ("nvidia-bluefield.toml", include_str!("../profiles/nvidia-bluefield.toml")),
    ("nvidia-dgx.toml", include_str!("../profiles/nvidia-dgx.toml")),
    ("nvidia-gb200.toml", include_str!("../profiles/nvidia-gb200.toml")),
    ("openbmc.toml", include_str!("../profiles/openbmc.toml")),
    ("supermicro-ars-111gl-nhr.toml", include_str!("../profiles/supermicro-ars-111gl-nhr.toml")),
    ("supermicro-x10.toml", include_str!("../profiles/supermicro-x10.toml")),
    ("supermicro.toml", include_str!("../profiles/supermicro.toml")),
    ("sushy-tools.toml", include_str!("../profiles/sushy-tools.toml")),
];

/// Largest profile file read, in bytes.
const FILE_MAX: u64 = 64 << 10;
/// Most profiles read from a folder.
const FOLDER_MAX: usize = 256;
/// Longest name of a profile.
const NAME_MAX: usize = 40;

/// Why profiles cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ProfileError {
    /// The folder or a file in it cannot be read.
    #[error("reading BMC profiles from {path}")]
    Read {
        /// Folder or file.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// It is no profile.
    #[error("{file} is no BMC profile; docs/bmc-support.md says what one holds")]
    Syntax {
        /// The file.
        file: String,
        /// Where and why.
        #[source]
        source: Box<toml::de::Error>,
    },
    /// It says something that cannot be.
    #[error("BMC profile {file}: {reason}")]
    Contents {
        /// The file.
        file: String,
        /// What is wrong and what to write.
        reason: String,
    },
}

static ALL_BUILTIN: LazyLock<Profiles> = LazyLock::new(|| {
    // A built-in file that is wrong fails the tests of this module; at run time it is left out.
    let read = BUILTIN.iter().filter_map(|(file, text)| parse(file, text).ok());
    Profiles::of(read.collect())
});

impl Profiles {
    /// The built-in ones.
    pub fn builtin() -> Self {
        ALL_BUILTIN.clone()
    }

    /// The built-in ones, and those in a folder: each `*.toml` adds one, or stands in for the one of its name.
    ///
    /// # Errors
    /// When the folder cannot be read or a file in it is no profile.
    pub fn with_folder(folder: &Path) -> Result<Self, ProfileError> {
        let mut all: Vec<Profile> = ALL_BUILTIN.all.iter().map(|profile| (**profile).clone()).collect();
        let mut given: Vec<String> = Vec::new();
        for path in files(folder)? {
            let file = path.display().to_string();
            let text = read(&path)?;
            let profile = parse(&file, &text)?;
            if given.contains(&profile.name) {
                let reason = format!("another file of the folder is named {} too", profile.name);
                return Err(ProfileError::Contents { file, reason });
            }
            given.push(profile.name.clone());
            all.retain(|known| known.name != profile.name);
            all.push(profile);
        }
        Ok(Self::of(all))
    }

    fn of(mut all: Vec<Profile>) -> Self {
        all.sort_by(|one, other| one.name.cmp(&other.name));
        let generic = Arc::new(Profile::generic());
        Self { all: all.into_iter().map(Arc::new).collect(), generic }
    }

    /// All of them, by name, the generic one last.
    pub fn iter(&self) -> impl Iterator<Item = &Profile> {
        self.all.iter().chain([&self.generic]).map(|profile| &**profile)
    }
}

fn files(folder: &Path) -> Result<Vec<PathBuf>, ProfileError> {
    let broken = |source| ProfileError::Read { path: folder.to_owned(), source };
    let mut files = Vec::new();
    for entry in std::fs::read_dir(folder).map_err(broken)? {
        let path = entry.map_err(broken)?.path();
        if path.extension().is_some_and(|kind| kind == "toml") {
            files.push(path);
        }
    }
    if files.len() > FOLDER_MAX {
        let reason = format!("the folder has {} profiles, {FOLDER_MAX} are read at most", files.len());
        return Err(ProfileError::Contents { file: folder.display().to_string(), reason });
    }
    files.sort();
    Ok(files)
}

fn read(path: &Path) -> Result<String, ProfileError> {
    use std::io::Read as _;
    let broken = |source| ProfileError::Read { path: path.to_owned(), source };
    let mut text = String::new();
    let file = std::fs::File::open(path).map_err(broken)?;
    file.take(FILE_MAX + 1).read_to_string(&mut text).map_err(broken)?;
    if text.len() as u64 > FILE_MAX {
        let reason = format!("it is longer than {FILE_MAX} bytes");
        return Err(ProfileError::Contents { file: path.display().to_string(), reason });
    }
    Ok(text)
}

/// Reads one profile and checks what TOML cannot.
fn parse(file: &str, text: &str) -> Result<Profile, ProfileError> {
    let profile: Profile = toml::from_str(text)
        .map_err(|source| ProfileError::Syntax { file: file.to_owned(), source: Box::new(source) })?;
    let wrong = |reason: String| Err(ProfileError::Contents { file: file.to_owned(), reason });
    let is_name = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    if profile.name.is_empty() || profile.name.len() > NAME_MAX || !profile.name.chars().all(is_name) {
        return wrong(format!(
            "name is {:?}; use small letters, digits and dashes, {NAME_MAX} at most",
            profile.name
        ));
    }
    if profile.name == GENERIC {
        return wrong("the generic profile is what the standard says, and cannot be changed".to_owned());
    }
    if profile.rule.maker.iter().all(|maker| maker.trim().is_empty()) {
        return wrong("[match] names no maker; without one it would be about every BMC".to_owned());
    }
    if profile.sources.is_empty() {
        return wrong("sources is empty; say where the facts come from".to_owned());
    }
    let range = Stretch::RANGE;
    if let Some((name, factor)) =
        profile.waits.factors().into_iter().find(|(_, factor)| !range.contains(factor))
    {
        return wrong(format!(
            "[waits] {name} is {factor}; it is a factor from {} to {}",
            range.start(),
            range.end()
        ));
    }
    if profile.slots.most == Some(0) {
        return wrong("[slots] most is 0; a BMC without slots needs no profile to say so".to_owned());
    }
    if let Some(scheme) =
        profile.media.schemes.iter().find(|scheme| !matches!(scheme.as_str(), "http" | "https"))
    {
        return wrong(format!("[media] schemes has {scheme:?}; media are served by http and https"));
    }
    Ok(profile)
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = "name = \"x\"\ntitle = \"X\"\nevidence = \"reported\"\nsources = [\"here\"]\n[match]\nmaker = [\"x\"]\n";

    #[test]
    fn every_built_in_profile_is_sound_and_is_named_as_its_file() {
        for (file, text) in BUILTIN {
            let profile = parse(file, text).unwrap_or_else(|error| panic!("{file}: {error:?}"));
            assert_eq!(format!("{}.toml", profile.name), *file);
        }
        let on_disk =
            std::fs::read_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/src/redfish/profiles")).unwrap();
        assert_eq!(on_disk.count(), BUILTIN.len(), "a file of the folder is not built in");
        assert_eq!(Profiles::builtin().iter().count(), BUILTIN.len() + 1);
    }

    #[test]
    fn a_profile_cannot_name_an_image_a_credential_a_trust_decision_or_a_reset() {
        for key in [
            "image = \"http://evil/x.iso\"",
            "url = \"http://evil\"",
            "user = \"root\"",
            "password = \"x\"",
            "token = \"x\"",
            "tls = \"off\"",
            "verify = false",
            "fingerprint = \"00\"",
            "reset = \"Nmi\"",
            "reset_type = \"ForceRestart\"",
        ] {
            for table in ["", "[slots]\n", "[media]\n", "[boot]\n", "[read]\n", "[waits]\n"] {
                let text =
                    if table.is_empty() { format!("{key}\n{GOOD}") } else { format!("{GOOD}{table}{key}\n") };
                assert!(matches!(parse("x", &text), Err(ProfileError::Syntax { .. })), "{text}");
            }
        }
        parse("x", GOOD).unwrap();
    }

    #[test]
    fn what_cannot_be_is_refused_by_name() {
        for (change, said) in [
            (("name = \"x\"", "name = \"X Y\""), "small letters"),
            (("name = \"x\"", "name = \"generic\""), "cannot be changed"),
            (("maker = [\"x\"]", "maker = []"), "names no maker"),
            (("sources = [\"here\"]", "sources = []"), "where the facts come from"),
            (("[match]", "[waits]\nmedia = 90.0\n[match]"), "media is 90"),
            (("[match]", "[waits]\nmedia = nan\n[match]"), "media is NaN"),
            (("[match]", "[slots]\nmost = 0\n[match]"), "most is 0"),
            (("[match]", "[media]\nschemes = [\"nfs\"]\n[match]"), "\"nfs\""),
        ] {
            let error = parse("x.toml", &GOOD.replace(change.0, change.1)).unwrap_err().to_string();
            assert!(error.contains(said) && error.contains("x.toml"), "{error}");
        }
    }

    #[test]
    fn a_folder_adds_profiles_and_stands_in_for_built_in_ones() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("mine.toml"), GOOD).unwrap();
        std::fs::write(
            folder.path().join("n.toml"),
            GOOD.replace("\"x\"", "\"nokia\"").replace("\"X\"", "\"Mine\""),
        )
        .unwrap();
        std::fs::write(folder.path().join("readme.md"), "no profile").unwrap();
        let all = Profiles::with_folder(folder.path()).unwrap();
        assert_eq!(all.iter().count(), BUILTIN.len() + 2);
        assert!(all.iter().any(|profile| profile.name == "nokia" && profile.title == "Mine"));
        std::fs::write(folder.path().join("twice.toml"), GOOD).unwrap();
        let error = Profiles::with_folder(folder.path()).unwrap_err().to_string();
        assert!(error.contains("named x too"), "{error}");
        let error = Profiles::with_folder(&folder.path().join("absent")).unwrap_err().to_string();
        assert!(error.contains("absent"), "{error}");
    }
}

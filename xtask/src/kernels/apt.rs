//! Debian's archive, through apt with a state of its own: the host's sources, lists and
//! packages are neither used nor changed, and nothing is installed.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::expected::Version;
use crate::output;

const KEYRING: &str = "/usr/share/keyrings/debian-archive-keyring.gpg";

/// Archive, suite.
const SUITES: [(&str, &str); 9] = [
    ("debian", "bullseye"),
    ("debian-security", "bullseye-security"),
    ("debian", "bookworm"),
    ("debian-security", "bookworm-security"),
    ("debian", "bookworm-backports"),
    ("debian", "trixie"),
    ("debian-security", "trixie-security"),
    ("debian", "trixie-backports"),
    ("debian", "sid"),
];

/// Where the emulator and what it needs come from, down to the C library: one suite, so
/// that they fit together on any host.
const TOOLS_SUITE: &str = "trixie";
const TOOLS: [&str; 4] = ["qemu-system-x86", "busybox-static", "e2fsprogs", "xz-utils"];

/// A kernel in the cache.
pub struct Kernel {
    pub version: Version,
    /// As `uname -r` says it.
    pub release: String,
    pub image: PathBuf,
    /// The folder with the modules.
    pub modules: PathBuf,
}

struct Apt {
    folder: PathBuf,
}

impl Apt {
    /// The lists of all suites, fetched unless they are there.
    fn open(cache: &Path) -> Result<Self, String> {
        for program in ["apt-get", "apt-cache", "dpkg"] {
            if Command::new(program).arg("--version").output().is_err() {
                return Err(format!("no {program} on this system"));
            }
        }
        if !Path::new(KEYRING).exists() {
            return Err(format!("no {KEYRING} (package debian-archive-keyring)"));
        }
        let folder = cache.join("apt");
        let apt = Self { folder };
        let complete = apt.folder.join("complete");
        if !complete.exists() {
            apt.update()?;
            write(&complete, "")?;
        }
        Ok(apt)
    }

    fn update(&self) -> Result<(), String> {
        for folder in ["lists/partial", "archives/partial"] {
            make(&self.folder.join(folder))?;
        }
        write(&self.folder.join("status"), "")?;
        let sources: String = SUITES
            .iter()
            .map(|(archive, suite)| {
                format!("deb [signed-by={KEYRING}] http://deb.debian.org/{archive} {suite} main\n")
            })
            .collect();
        write(&self.folder.join("sources.list"), &sources)?;
        // Without the option, a suite that cannot be fetched is a warning.
        println!("fetching what there is");
        let mut update = self.command("apt-get");
        update.args(["-qq", "-o", "APT::Update::Error-Mode=any", "update"]);
        output(&mut update).map(drop)
    }

    /// apt, told where everything lies that it would look for in the system.
    fn command(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        let folder = self.folder.display();
        for option in [
            format!("Dir::State={folder}"),
            format!("Dir::State::lists={folder}/lists"),
            format!("Dir::State::status={folder}/status"),
            format!("Dir::Cache={folder}"),
            format!("Dir::Cache::archives={folder}/archives"),
            format!("Dir::Etc::sourcelist={folder}/sources.list"),
            "Dir::Etc::sourceparts=/dev/null".into(),
            "Dir::Etc::preferences=/dev/null".into(),
            "Dir::Etc::preferencesparts=/dev/null".into(),
            "APT::Architecture=amd64".into(),
            "APT::Architectures::=amd64".into(),
            "APT::Sandbox::User=".into(),
            "Acquire::Languages=none".into(),
            "Acquire::IndexTargets::deb::DEP-11::DefaultEnabled=false".into(),
        ] {
            command.args(["-o", &option]);
        }
        command
    }

    /// The newest package of a kernel series, with its version. The names have the release
    /// in them and grow old; a meta package is there for some series only.
    fn newest_image(&self, series: Version) -> Result<Package, String> {
        let (major, minor) = (series.major, series.minor);
        let pattern = format!(r"^linux-image-{major}\.{minor}\.[0-9].*-cloud-amd64$");
        let mut search = self.command("apt-cache");
        let found = output(search.args(["search", "--names-only", &pattern]))?;
        let names: Vec<&str> = found
            .lines()
            .filter_map(|line| line.split(' ').next())
            .collect();
        if names.is_empty() {
            return Err(format!(
                "Debian has no linux-image-{series}.*-cloud-amd64 any more"
            ));
        }
        let mut show = self.command("apt-cache");
        let text = output(show.arg("show").args(&names))?;
        let packages = text.split("\n\n").filter_map(Package::parse);
        let newest = packages.reduce(|a, b| if a.is_older(&b) { b } else { a });
        newest.ok_or_else(|| format!("apt-cache shows nothing of {}", names.join(", ")))
    }

    /// Downloads the packages and unpacks them in a new folder.
    fn unpack(&self, packages: &[String], into: &Path) -> Result<(), String> {
        let debs = self.folder.join("debs");
        let _ = fs::remove_dir_all(&debs);
        make(&debs)?;
        let mut download = self.command("apt-get");
        download.args(["-qq", "download"]).args(packages);
        println!("fetching {}", packages.join(", "));
        output(download.current_dir(&debs))?;
        unpack_all(&debs, into)
    }
}

struct Package {
    name: String,
    version: String,
    depends: String,
}

impl Package {
    fn parse(paragraph: &str) -> Option<Self> {
        let field = |key: &str| {
            let mut lines = paragraph.lines();
            lines.find_map(|line| Some(line.strip_prefix(key)?.to_string()))
        };
        Some(Self {
            name: field("Package: ")?,
            version: field("Version: ")?,
            depends: field("Depends: ").unwrap_or_default(),
        })
    }

    fn is_older(&self, other: &Self) -> bool {
        let mut compare = Command::new("dpkg");
        compare.args(["--compare-versions", &self.version, "lt", &other.version]);
        compare.status().is_ok_and(|status| status.success())
    }

    /// The package, and those that newer kernels are split into.
    fn parts(&self) -> Vec<String> {
        let depends = self.depends.split([',', ' ', '|']);
        let is_part =
            |name: &&str| name.starts_with("linux-binary-") || name.starts_with("linux-modules-");
        let mut names = vec![self.name.as_str()];
        names.extend(depends.filter(is_part));
        let version = &self.version;
        names
            .iter()
            .map(|name| format!("{name}={version}"))
            .collect()
    }
}

/// The kernel of a series, fetched unless it is there; or why not.
pub fn kernel(cache: &Path, version: Version) -> Result<Kernel, String> {
    let folder = cache.join(format!("linux-{version}"));
    if !folder.exists() {
        let apt = Apt::open(cache)?;
        let image = apt.newest_image(version)?;
        apt.unpack(&image.parts(), &folder)?;
    }
    let modules = [folder.join("lib/modules"), folder.join("usr/lib/modules")];
    let modules = modules.iter().filter_map(|path| only_entry(path)).next();
    let modules = modules.ok_or_else(|| format!("{}: no modules", folder.display()))?;
    let release = modules.file_name().unwrap_or_default().to_string_lossy();
    let images = [
        folder.join(format!("boot/vmlinuz-{release}")),
        modules.join("vmlinuz"),
    ];
    let image = images.into_iter().find(|path| path.exists());
    Ok(Kernel {
        version,
        release: release.to_string(),
        image: image.ok_or_else(|| format!("{}: no vmlinuz", folder.display()))?,
        modules,
    })
}

/// The root of a system that has the emulator, fetched unless it is there; or why not.
pub fn tools(cache: &Path) -> Result<PathBuf, String> {
    let folder = cache.join("tools");
    if !folder.exists() {
        let apt = Apt::open(cache)?;
        let mut install = apt.command("apt-get");
        install.args(["-qq", "-y", "--no-install-recommends", "--download-only"]);
        install.args(["-t", TOOLS_SUITE, "install"]).args(TOOLS);
        println!("fetching {} and what they need", TOOLS.join(", "));
        output(&mut install)?;
        unpack_all(&apt.folder.join("archives"), &folder)?;
    }
    Ok(folder)
}

/// Unpacks all packages of a folder into a new one, which is there when it is complete.
fn unpack_all(debs: &Path, into: &Path) -> Result<(), String> {
    let half = into.with_extension("half");
    let _ = fs::remove_dir_all(&half);
    make(&half)?;
    let failed = |error| format!("{}: {error}", debs.display());
    for entry in fs::read_dir(debs).map_err(failed)? {
        let path = entry.map_err(failed)?.path();
        if path.extension().is_some_and(|extension| extension == "deb") {
            output(Command::new("dpkg").arg("-x").arg(&path).arg(&half))?;
        }
    }
    fs::rename(&half, into).map_err(|error| format!("{}: {error}", into.display()))
}

/// What lies in the folder, if it is one thing.
fn only_entry(folder: &Path) -> Option<PathBuf> {
    let mut entries = fs::read_dir(folder).ok()?;
    Some(entries.next()?.ok()?.path())
}

fn make(folder: &Path) -> Result<(), String> {
    fs::create_dir_all(folder).map_err(|error| format!("{}: {error}", folder.display()))
}

fn write(file: &Path, text: &str) -> Result<(), String> {
    fs::write(file, text).map_err(|error| format!("{}: {error}", file.display()))
}

//! Architectures, as images, the compiler and binaries name them.

use std::fmt;

use oci_spec::image;

/// One that the image is built for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, clap::ValueEnum)]
pub enum Arch {
    /// x86-64
    Amd64,
    /// ARM, 64 bits
    Arm64,
}

impl Arch {
    /// All, in the order in which the index names them.
    pub const ALL: [Self; 2] = [Self::Amd64, Self::Arm64];

    /// The one of the machine that this runs on, if it is one of these.
    #[must_use]
    pub fn of_this_machine() -> Option<Self> {
        Self::ALL.into_iter().find(|arch| arch.triple().starts_with(std::env::consts::ARCH))
    }

    /// The compiler's name for it: with musl, which is linked statically.
    #[must_use]
    pub const fn triple(self) -> &'static str {
        match self {
            Self::Amd64 => "x86_64-unknown-linux-musl",
            Self::Arm64 => "aarch64-unknown-linux-musl",
        }
    }

    /// The image specification's.
    pub(super) const fn in_image(self) -> image::Arch {
        match self {
            Self::Amd64 => image::Arch::Amd64,
            Self::Arm64 => image::Arch::ARM64,
        }
    }

    /// `e_machine` of its binaries.
    pub(super) const fn in_elf(self) -> u16 {
        match self {
            Self::Amd64 => 62,
            Self::Arm64 => 183,
        }
    }
}

impl fmt::Display for Arch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Amd64 => "amd64",
            Self::Arm64 => "arm64",
        })
    }
}

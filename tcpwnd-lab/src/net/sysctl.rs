//! Kernel settings under `/proc/sys`: of a namespace, and of the whole machine.
//!
//! Constraint: a setting of the whole machine is put back when its guard goes.

use std::fs;

use anyhow::{Context, Result};

/// A setting as the calling thread's namespace sees it.
#[derive(Debug)]
pub struct Setting {
    path: String,
}

/// Names a setting by its path below `/proc/sys`.
#[must_use]
pub fn setting(name: &str) -> Setting {
    Setting {
        path: format!("/proc/sys/{name}"),
    }
}

impl Setting {
    /// Reads the value, without the end of the line.
    ///
    /// # Errors
    /// When there is no such setting.
    pub fn read(&self) -> Result<String> {
        let text = fs::read_to_string(&self.path)
            .with_context(|| format!("failed to read {}", self.path))?;
        Ok(text.trim_end().to_owned())
    }

    /// Writes a value.
    ///
    /// # Errors
    /// When there is no such setting, or the kernel refuses the value.
    pub fn write(&self, value: &str) -> Result<()> {
        fs::write(&self.path, value)
            .with_context(|| format!("failed to write {value} to {}", self.path))
    }
}

/// A changed setting of the whole machine; goes back to what it was when dropped.
#[derive(Debug)]
pub struct GlobalSetting {
    setting: Setting,
    before: String,
}

impl GlobalSetting {
    /// Changes a setting for as long as the returned guard lives.
    ///
    /// # Errors
    /// As [`Setting::read`] and [`Setting::write`].
    pub fn change(name: &str, value: &str) -> Result<Self> {
        let setting = setting(name);
        let before = setting.read()?;
        setting.write(value)?;
        Ok(Self { setting, before })
    }
}

impl Drop for GlobalSetting {
    fn drop(&mut self) {
        if let Err(error) = self.setting.write(&self.before) {
            eprintln!("tcpwnd-lab: {error:#}");
        }
    }
}

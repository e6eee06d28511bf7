//! What the kernel command line says to the dispatcher. Pure.
//!
//! Booted from our disc it says nothing. Booted by iPXE there is no disc, and it names the task medium and the keys
//! it is checked against: `slipway.task=http://… slipway.trust=<hex>,<hex>`.

/// Our words of the kernel command line.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct KernelCommandLine {
    /// URL of the task medium.
    pub task_url: Option<String>,
    /// Site keys in hex, unchecked.
    pub trust: Vec<String>,
}

/// Most keys taken from the command line.
const KEYS_MAX: usize = 8;

/// Reads `/proc/cmdline`; of a word given twice the last one counts, as with the kernel.
pub fn parse(text: &str) -> KernelCommandLine {
    let mut line = KernelCommandLine::default();
    for word in text.split_whitespace() {
        if let Some(url) = word.strip_prefix("slipway.task=") {
            line.task_url = Some(url.to_owned());
        } else if let Some(keys) = word.strip_prefix("slipway.trust=") {
            line.trust = keys.split(',').take(KEYS_MAX).map(str::to_owned).collect();
        }
    }
    line
}

#[cfg(test)]
mod tests {
    use super::parse;

    #[test]
    fn our_words_are_found_among_the_kernels() {
        let line = parse(
            "BOOT_IMAGE=/vmlinuz root=live:x slipway.task=http://10.0.0.5/m/a/task.iso slipway.trust=aa,bb quiet\n",
        );
        assert_eq!(line.task_url.as_deref(), Some("http://10.0.0.5/m/a/task.iso"));
        assert_eq!(line.trust, ["aa", "bb"]);
        assert_eq!(parse("root=live:CDLABEL=SLIPWAY_MAINT"), super::KernelCommandLine::default());
    }
}

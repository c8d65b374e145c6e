//! What the machine says of itself: SMBIOS, and the registry where the system keeps its names.

use camino::{Utf8Path, Utf8PathBuf};
use smbioslib::{SMBiosSystemInformation, SystemUuidData};
use windows_registry::{Key, LOCAL_MACHINE};

use crate::platform::Machine;

/// The first build that calls itself Windows 11; the registry still says 10.
const FIRST_ELEVEN: u32 = 22_000;

/// Reads what the machine says of itself. There is one registry, wherever `system` points to.
#[must_use]
pub fn describe(_system: &Utf8Path) -> Machine {
    let firmware = Firmware::read();
    let platform = String::from("windows");
    Machine {
        firmware_uuid: firmware.uuid,
        machine_id: text(r"SOFTWARE\Microsoft\Cryptography", "MachineGuid"),
        serial: firmware.serial,
        model: firmware.model,
        hostname: hostname(),
        platform_like: platform.clone(),
        platform,
        os_version: os_version(),
        cpu_type: Some(std::env::consts::ARCH.to_owned()),
    }
}

#[derive(Default)]
struct Firmware {
    uuid: Option<String>,
    serial: String,
    model: String,
}

impl Firmware {
    fn read() -> Self {
        let Ok(table) = smbioslib::table_load_from_device() else { return Self::default() };
        let Some(system) = table.first::<SMBiosSystemInformation<'_>>() else {
            return Self::default();
        };
        let line = |text: Option<String>| text.unwrap_or_default().trim().to_owned();
        let uuid = match system.uuid() {
            Some(SystemUuidData::Uuid(uuid)) => Some(uuid.to_string()),
            Some(SystemUuidData::IdNotPresent | SystemUuidData::IdNotPresentButSettable) | None => {
                None
            }
        };
        Self {
            uuid,
            serial: line(system.serial_number().to_utf8_lossy()),
            model: line(system.product_name().to_utf8_lossy()),
        }
    }
}

fn hostname() -> String {
    text(r"SYSTEM\CurrentControlSet\Services\Tcpip\Parameters", "Hostname")
        .or_else(|| {
            text(
                r"SYSTEM\CurrentControlSet\Control\ComputerName\ActiveComputerName",
                "ComputerName",
            )
        })
        .unwrap_or_default()
}

/// e.g. `Windows 11 Pro 23H2 (build 22631)`.
fn os_version() -> Option<String> {
    let key = open(r"SOFTWARE\Microsoft\Windows NT\CurrentVersion")?;
    let field = |name: &str| key.get_string(name).ok().filter(|text| !text.is_empty());
    let build = field("CurrentBuild");
    let eleven = build.as_ref().and_then(|build| build.parse().ok()) >= Some(FIRST_ELEVEN);
    let mut name = field("ProductName")?;
    if eleven {
        name = name.replace("Windows 10", "Windows 11");
    }
    if let Some(release) = field("DisplayVersion") {
        name = format!("{name} {release}");
    }
    Some(build.map_or(name.clone(), |build| format!("{name} (build {build})")))
}

/// The path of a program that is part of Windows: by its name alone another could be found first.
pub(super) fn tool(name: &str) -> Utf8PathBuf {
    let windows = text(r"SOFTWARE\Microsoft\Windows NT\CurrentVersion", "SystemRoot");
    let windows = windows.map_or_else(|| Utf8PathBuf::from(r"C:\Windows"), Utf8PathBuf::from);
    windows.join("System32").join(name)
}

fn text(path: &str, name: &str) -> Option<String> {
    let value = open(path)?.get_string(name).ok()?;
    let value = value.trim();
    (!value.is_empty()).then(|| value.to_owned())
}

/// The registry as programs of this machine's own width see it.
fn open(path: &str) -> Option<Key> {
    LOCAL_MACHINE.options().read().wow64_64().open(path).ok()
}

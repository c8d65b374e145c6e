//! For Windows: the two commands of SyncML that have `EnterpriseDesktopAppManagement` install an msi, as
//! Microsoft documents them (learn.microsoft.com, "EnterpriseDesktopAppManagement CSP").

use std::{fs::File, path::Path};

use anyhow::{Context as _, ensure};
use quick_xml::{Writer, events::BytesText};

use super::{Document, Enrollment, Package};
use crate::digest::sha256;

/// Minutes that an installation may take, how often it is tried, and minutes between tries.
const TIME_OUT: &str = "10";
const RETRY_COUNT: &str = "3";
const RETRY_INTERVAL: &str = "5";

const NO_ATTRIBUTES: [(&str, &str); 0] = [];

/// The commands for `package`, which lies at `path`.
pub(super) fn documents(
    package: &Package<'_>,
    path: &Path,
    enrollment: Option<&Enrollment>,
) -> anyhow::Result<Vec<Document>> {
    let product = package.contents.says("product_code");
    ensure!(!product.is_empty(), "`{}` has no product code", path.display());
    let sha256 = File::open(path)
        .and_then(|mut file| sha256(&mut file))
        .with_context(|| format!("could not read `{}`", path.display()))?;
    let job = Job {
        product,
        version: package.contents.says("version"),
        url: package.url.as_str(),
        sha256: sha256.to_uppercase(),
        command_line: command_line(enrollment),
    };
    Ok(vec![Document {
        name: "install.syncml",
        purpose: "EnterpriseDesktopAppManagement",
        text: job.commands().context("could not write SyncML")?,
        secret: enrollment.is_some(),
    }])
}

/// What msiexec is given: values in quotation marks, and those in values twice.
fn command_line(enrollment: Option<&Enrollment>) -> String {
    let quoted = |text: &str| format!("\"{}\"", text.replace('"', "\"\""));
    let mut line = "/quiet /norestart".to_owned();
    if let Some(Enrollment { url, secret }) = enrollment {
        line += &format!(" FLEET_URL={}", quoted(url.as_str()));
        line += &format!(" FLEET_SECRET={}", quoted(secret.expose()));
    }
    line
}

/// An installation.
struct Job<'a> {
    product: &'a str,
    version: &'a str,
    url: &'a str,
    sha256: String,
    command_line: String,
}

type Xml = Writer<Vec<u8>>;

impl Job<'_> {
    fn commands(&self) -> std::io::Result<Vec<u8>> {
        let mut xml = Writer::new_with_indent(Vec::new(), b' ', 2);
        element(&mut xml, ("SyncML", [("xmlns", "SYNCML:SYNCML1.2")]), |xml| {
            element(xml, ("SyncBody", NO_ATTRIBUTES), |xml| {
                element(xml, ("Add", NO_ATTRIBUTES), |xml| {
                    text(xml, "CmdID", "1")?;
                    element(xml, ("Item", NO_ATTRIBUTES), |xml| self.target(xml))
                })?;
                element(xml, ("Exec", NO_ATTRIBUTES), |xml| {
                    text(xml, "CmdID", "2")?;
                    element(xml, ("Item", NO_ATTRIBUTES), |xml| {
                        self.target(xml)?;
                        element(xml, ("Meta", NO_ATTRIBUTES), |xml| {
                            let space = [("xmlns", "syncml:metinf")];
                            leaf(xml, ("Format", space), "xml")?;
                            leaf(xml, ("Type", space), "text/plain")
                        })?;
                        element(xml, ("Data", NO_ATTRIBUTES), |xml| self.job(xml))
                    })
                })?;
                xml.create_element("Final").write_empty().map(|_| ())
            })
        })?;
        let mut text = xml.into_inner();
        text.push(b'\n');
        Ok(text)
    }

    /// The node for the product, whose braces an address may not have.
    fn target(&self, xml: &mut Xml) -> std::io::Result<()> {
        let product = self.product.replace('{', "%7B").replace('}', "%7D");
        let node = format!(
            "./Device/Vendor/MSFT/EnterpriseDesktopAppManagement/MSI/{product}/DownloadInstall"
        );
        element(xml, ("Target", NO_ATTRIBUTES), |xml| text(xml, "LocURI", &node))
    }

    fn job(&self, xml: &mut Xml) -> std::io::Result<()> {
        element(xml, ("MsiInstallJob", [("id", self.product)]), |xml| {
            element(xml, ("Product", [("Version", self.version)]), |xml| {
                element(xml, ("Download", NO_ATTRIBUTES), |xml| {
                    element(xml, ("ContentURLList", NO_ATTRIBUTES), |xml| {
                        text(xml, "ContentURL", self.url)
                    })
                })?;
                element(xml, ("Validation", NO_ATTRIBUTES), |xml| {
                    text(xml, "FileHash", &self.sha256)
                })?;
                element(xml, ("Enforcement", NO_ATTRIBUTES), |xml| {
                    text(xml, "CommandLine", &self.command_line)?;
                    text(xml, "TimeOut", TIME_OUT)?;
                    text(xml, "RetryCount", RETRY_COUNT)?;
                    text(xml, "RetryInterval", RETRY_INTERVAL)
                })
            })
        })
    }
}

fn element<const N: usize>(
    xml: &mut Xml,
    (name, attributes): (&str, [(&str, &str); N]),
    inside: impl FnOnce(&mut Xml) -> std::io::Result<()>,
) -> std::io::Result<()> {
    xml.create_element(name).with_attributes(attributes).write_inner_content(inside).map(|_| ())
}

fn leaf<const N: usize>(
    xml: &mut Xml,
    (name, attributes): (&str, [(&str, &str); N]),
    text: &str,
) -> std::io::Result<()> {
    let element = xml.create_element(name).with_attributes(attributes);
    element.write_text_content(BytesText::new(text)).map(|_| ())
}

fn text(xml: &mut Xml, name: &str, text: &str) -> std::io::Result<()> {
    leaf(xml, (name, NO_ATTRIBUTES), text)
}

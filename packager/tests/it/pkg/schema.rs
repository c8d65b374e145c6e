//! What Apple's "Distribution Definition XML Schema Reference" and the documents of pkgbuild allow,
//! as RELAX NG. Only what is used here is in it: anything else is a mistake.

use std::{fs, path::Path};

use crate::fixture::run;

pub(crate) const DISTRIBUTION: &str = r##"
<element name="installer-gui-script" xmlns="http://relaxng.org/ns/structure/1.0"
         datatypeLibrary="http://www.w3.org/2001/XMLSchema-datatypes">
  <attribute name="minSpecVersion"><value>2</value></attribute>
  <element name="title"><text/></element>
  <element name="options">
    <attribute name="customize"><choice><value>allow</value><value>always</value><value>never</value></choice></attribute>
    <attribute name="require-scripts"><data type="boolean"/></attribute>
    <attribute name="rootVolumeOnly"><data type="boolean"/></attribute>
    <attribute name="hostArchitectures"><data type="string"><param name="pattern">(arm64|x86_64)(,(arm64|x86_64))*</param></data></attribute>
  </element>
  <element name="domains">
    <attribute name="enable_anywhere"><data type="boolean"/></attribute>
    <attribute name="enable_currentUserHome"><data type="boolean"/></attribute>
    <attribute name="enable_localSystem"><data type="boolean"/></attribute>
  </element>
  <element name="volume-check">
    <element name="allowed-os-versions">
      <element name="os-version"><attribute name="min"><data type="string"><param name="pattern">[0-9]+(\.[0-9]+)*</param></data></attribute></element>
    </element>
  </element>
  <element name="choices-outline">
    <element name="line"><attribute name="choice"><data type="IDREF"/></attribute>
      <oneOrMore><element name="line"><attribute name="choice"><data type="IDREF"/></attribute></element></oneOrMore>
    </element>
  </element>
  <oneOrMore>
    <element name="choice">
      <attribute name="id"><data type="ID"/></attribute>
      <attribute name="title"/>
      <optional><attribute name="description"/></optional>
      <optional><attribute name="visible"><data type="boolean"/></attribute></optional>
      <zeroOrMore><element name="pkg-ref"><attribute name="id"/></element></zeroOrMore>
    </element>
  </oneOrMore>
  <element name="pkg-ref">
    <attribute name="id"/>
    <attribute name="version"/>
    <attribute name="installKBytes"><data type="nonNegativeInteger"/></attribute>
    <attribute name="auth"><value>root</value></attribute>
    <attribute name="onConclusion"><choice><value>none</value><value>RequireRestart</value></choice></attribute>
    <data type="string"><param name="pattern">#[A-Za-z.]+</param></data>
  </element>
  <element name="pkg-ref"><attribute name="id"/><element name="bundle-version"><empty/></element></element>
  <element name="product"><attribute name="id"/><attribute name="version"/></element>
</element>
"##;

pub(crate) const PACKAGE_INFO: &str = r##"
<element name="pkg-info" xmlns="http://relaxng.org/ns/structure/1.0"
         datatypeLibrary="http://www.w3.org/2001/XMLSchema-datatypes">
  <attribute name="format-version"><value>2</value></attribute>
  <attribute name="identifier"/>
  <attribute name="version"/>
  <attribute name="install-location"><value>/</value></attribute>
  <attribute name="auth"><choice><value>none</value><value>root</value></choice></attribute>
  <attribute name="overwrite-permissions"><data type="boolean"/></attribute>
  <attribute name="relocatable"><data type="boolean"/></attribute>
  <attribute name="postinstall-action"><choice><value>none</value><value>logout</value><value>restart</value><value>shutdown</value></choice></attribute>
  <element name="payload">
    <attribute name="numberOfFiles"><data type="nonNegativeInteger"/></attribute>
    <attribute name="installKBytes"><data type="nonNegativeInteger"/></attribute>
  </element>
  <element name="bundle-version"><empty/></element>
  <element name="scripts">
    <element name="preinstall"><attribute name="file"><value>./preinstall</value></attribute></element>
    <element name="postinstall"><attribute name="file"><value>./postinstall</value></attribute></element>
  </element>
</element>
"##;

pub(crate) fn validate(document: &Path, schema: &str) {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("schema.rng");
    fs::write(&file, schema).unwrap();
    let (file, document) = (file.to_str().unwrap(), document.to_str().unwrap());
    run("xmllint", &["--noout", "--relaxng", file, document]);
}

use crate::fixture::*;
#[test]
fn quick() {
    let dir = std::path::Path::new("/tmp/t/out");
    std::fs::create_dir_all(dir).unwrap();
    for c in ["none", "gzip", "xz:1", "zstd"] {
        let d = dir.join(c);
        std::fs::create_dir_all(&d).unwrap();
        let p = package(draft(), "1.2.3");
        let deb =
            packager::format::deb::Deb { compression: c.parse().unwrap(), ..Default::default() };
        write(&p, &deb, &d);
        let rpm =
            packager::format::rpm::Rpm { compression: c.parse().unwrap(), ..Default::default() };
        write(&p, &rpm, &d);
        print!("{}", packager::Format::tree(&deb, &p));
    }
}

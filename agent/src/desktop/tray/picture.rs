//! The picture of the icon, drawn for any size: the product's planet, in colour while the device is
//! online.

use super::Face;

/// A picture of so many pixels in a row as in a column: red, green, blue and alpha of each, row by row from
/// the top.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Picture {
    pub side: u16,
    pub rgba: Vec<u8>,
}

type Colour = [f64; 3];

const NIGHT: Colour = [23.0, 58.0, 94.0];
const GREY: Colour = [110.0, 114.0, 120.0];
const WHITE: Colour = [255.0; 3];

/// So many points of each pixel are looked at, each way.
const POINTS: u16 = 4;

impl Picture {
    /// What `face` looks like.
    #[must_use]
    pub fn of(face: Face, side: u16) -> Self {
        let ground = if face == Face::Online { NIGHT } else { GREY };
        let rows = (0..side).flat_map(|y| (0..side).map(move |x| (x, y)));
        let rgba = rows.flat_map(|(x, y)| pixel(x, y, side, ground)).collect();
        Self { side, rgba }
    }
}

/// The mean of the points in a pixel. The ground's alpha counts, its edge is smooth.
fn pixel(x: u16, y: u16, side: u16, ground: Colour) -> [u8; 4] {
    let place = |pixel: u16, point: u16| {
        (f64::from(pixel) + (f64::from(point) + 0.5) / f64::from(POINTS)) / f64::from(side) * 2.0
            - 1.0
    };
    let points = (0..POINTS).flat_map(|row| (0..POINTS).map(move |column| (column, row)));
    let seen: Vec<Colour> =
        points.filter_map(|(column, row)| point(place(x, column), place(y, row), ground)).collect();
    let mean = |channel: usize| {
        let sum: f64 = seen.iter().map(|colour| colour[channel]).sum();
        byte(sum / f64::max(seen.len() as f64, 1.0))
    };
    let alpha = byte(255.0 * seen.len() as f64 / f64::from(POINTS * POINTS));
    [mean(0), mean(1), mean(2), alpha]
}

/// What is at a point of the square from -1 to 1; nothing outside its rounded corners.
fn point(x: f64, y: f64, ground: Colour) -> Option<Colour> {
    const CORNER: f64 = 0.4;
    let beyond = |along: f64| (along.abs() - (1.0 - CORNER)).max(0.0);
    if beyond(x).hypot(beyond(y)) > CORNER {
        return None;
    }
    // The ring lies across, before the planet below and behind it above.
    let (along, across) = (x * 0.94 + y * -0.34, x * 0.34 + y * 0.94);
    let ring = (along / 0.82).hypot(across / 0.3);
    let planet = x.hypot(y) < 0.46;
    let on_ring = (0.82..1.0).contains(&ring);
    let gap = (0.7..1.12).contains(&ring) && across > 0.0;
    Some(if (planet && !gap) || (on_ring && !(planet && across < 0.0)) { WHITE } else { ground })
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "it is clamped")]
fn byte(value: f64) -> u8 {
    value.round().clamp(0.0, 255.0) as u8
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(picture: &Picture, x: usize, y: usize) -> [u8; 4] {
        let start = (y * usize::from(picture.side) + x) * 4;
        picture.rgba[start..start + 4].try_into().unwrap()
    }

    #[test]
    fn pictures_have_round_corners_a_planet_and_the_colour_of_the_status() {
        for side in [16, 22, 64] {
            let (online, offline) =
                (Picture::of(Face::Online, side), Picture::of(Face::Offline, side));
            let (middle, edge) = (usize::from(side) / 2, usize::from(side) - 1);
            assert_eq!(online.rgba.len(), usize::from(side).pow(2) * 4);
            assert!(at(&online, 0, 0)[3] < 128 && at(&online, edge, edge)[3] < 128);
            assert_eq!(at(&online, middle, middle - 2), [255; 4]);
            assert_eq!(at(&online, middle, edge), [23, 58, 94, 255]);
            assert_eq!(at(&offline, middle, edge), [110, 114, 120, 255]);
        }
    }
}

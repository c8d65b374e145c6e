-- What a role is for, as whoever made it says.
ALTER TABLE roles ADD COLUMN description TEXT NOT NULL DEFAULT '';

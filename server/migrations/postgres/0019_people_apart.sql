-- People belong to no organization in particular, so no column says who may see them. A transaction does that is in an
-- organization of theirs (to read), that is about their account, or that was told their address; and one that counts
-- everybody. Whatever forgets to say what it is about sees nobody.
ALTER TABLE users ENABLE ROW LEVEL SECURITY;
ALTER TABLE users FORCE ROW LEVEL SECURITY;
CREATE POLICY organization ON users FOR SELECT
    USING (EXISTS (SELECT 1 FROM memberships m WHERE m.user_id = users.id
                   AND m.org_id = NULLIF(current_setting('app.org_id', true), '')));
CREATE POLICY own ON users
    USING (id = NULLIF(current_setting('app.account', true), ''))
    WITH CHECK (id = NULLIF(current_setting('app.account', true), ''));
-- Signing in finds a person by their address, before anything else is known.
CREATE POLICY addressed ON users FOR SELECT
    USING (email = NULLIF(current_setting('app.address', true), ''));
-- How many people there are, and which kinds of password hashes.
CREATE POLICY surveyed ON users FOR SELECT
    USING (current_setting('app.survey', true) = 'people');

ALTER TABLE password_history ENABLE ROW LEVEL SECURITY;
ALTER TABLE password_history FORCE ROW LEVEL SECURITY;
CREATE POLICY own ON password_history
    USING (user_id = NULLIF(current_setting('app.account', true), ''))
    WITH CHECK (user_id = NULLIF(current_setting('app.account', true), ''));

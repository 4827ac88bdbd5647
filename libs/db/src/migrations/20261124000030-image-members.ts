import { type Kysely, sql } from 'kysely';

/** Whom images are shared with (SHR-01), and which accounts an organization has. */
export async function up(db: Kysely<unknown>): Promise<void> {
  // Projection of image events. A row whose `via` is set is the answer of one project to a share with its account or with an organization.
  await sql`
    create table image_member (
      image_id text not null,
      member_id text not null,
      member_type text not null check (member_type in ('project', 'domain', 'organization')),
      urn text,
      via text,
      status text not null check (status in ('pending', 'accepted', 'rejected')),
      vault_id text,
      created_at timestamptz(3) not null,
      updated_at timestamptz(3) not null,
      primary key (image_id, member_id)
    )`.execute(db);
  // A project that received a thousand images asks for those it has accepted (SHR-05).
  await sql`create index image_member_received on image_member (member_id, status, image_id)`.execute(db);
  // Everybody lists these, whoever's they are.
  await sql`
    create index image_public on image (created_at desc, id desc)
      where deleted_at is null and image_type in ('gold', 'market', 'public')`.execute(db);
  await sql`
    create table organization_account (
      id text not null,
      urn text not null,
      account_id text not null references account,
      primary key (id, account_id)
    )`.execute(db);
  await sql`create index organization_account_account on organization_account (account_id)`.execute(db);
  // Whom an image can be shared with so that a project gets it: itself, its account, and what that is in of an organization. Of a language that is not
  // inlined, so that it is asked once for each index scan and planned once for each connection.
  await sql`
    create function image_receivers(of_project text) returns text[] language plpgsql stable parallel safe as $$ begin
      return array(
        select of_project union all select p.account_id from project p where p.id = of_project
        union all select o.id from organization_account o join project p on p.account_id = o.account_id where p.id = of_project);
    end $$`.execute(db);
  await sql`grant select, insert, update, delete on image_member, organization_account to ims_service`.execute(db);
}

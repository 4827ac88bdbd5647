import { z } from 'zod';

// Names and ids of the identity service are at most 64 characters; what is longer cannot exist and need not be looked for.
const name = z.string().min(1).max(255);
// A password hash costs more the longer the password is: bounded before any hashing.
const password = z.string().min(1).max(1024);

const domainRef = z.object({ id: name.optional(), name: name.optional() });
const projectRef = z.object({ id: name.optional(), name: name.optional(), domain: domainRef.optional() });

/** Body of POST /v3/auth/tokens (iam 2.1, 2.2): by password, or by another token with another scope. */
export const issueTokenRequest = z.object({
  auth: z.object({
    identity: z.object({
      methods: z.array(z.string().max(64)).min(1).max(4),
      password: z
        .object({
          user: z.object({ id: name.optional(), name: name.optional(), password, domain: domainRef.optional() }),
        })
        .optional(),
      token: z.object({ id: z.string().min(1).max(8192) }).optional(),
    }),
    scope: z
      .union([z.literal('unscoped'), z.object({ project: projectRef.optional(), domain: domainRef.optional() })])
      .optional(),
  }),
});
export type IssueTokenRequest = z.infer<typeof issueTokenRequest>;

const domain = z.object({ id: z.string(), name: z.string() });
const links = z.object({ self: z.string(), previous: z.null(), next: z.null() });

export const catalogEntry = z.object({
  id: z.string(),
  name: z.string(),
  type: z.string(),
  endpoints: z.array(
    z.object({
      id: z.string(),
      interface: z.literal('public'),
      region: z.string(),
      region_id: z.string(),
      url: z.string(),
    }),
  ),
});
export type CatalogEntry = z.infer<typeof catalogEntry>;

/** Body of an issued or validated token (iam 2.1). */
export const tokenDocument = z.object({
  token: z.object({
    methods: z.array(z.string()),
    issued_at: z.string(),
    expires_at: z.string(),
    user: z.object({ id: z.string(), name: z.string(), password_expires_at: z.string(), domain }),
    project: z.object({ id: z.string(), name: z.string(), domain }).optional(),
    domain: domain.optional(),
    roles: z.array(z.object({ id: z.string(), name: z.string() })),
    catalog: z.array(catalogEntry),
  }),
});
export type TokenDocument = z.infer<typeof tokenDocument>;

export const projectDocument = z.object({
  id: z.string(),
  name: z.string(),
  domain_id: z.string(),
  parent_id: z.string(),
  description: z.string(),
  enabled: z.boolean(),
  is_domain: z.boolean(),
  links: z.object({ self: z.string() }),
});
export type ProjectDocument = z.infer<typeof projectDocument>;
/** GET /v3/projects and /v3/auth/projects (iam 3). */
export const projectList = z.object({ links, projects: z.array(projectDocument) });
export type ProjectList = z.infer<typeof projectList>;

/** GET /v3/auth/domains (iam 3). */
export const domainList = z.object({
  links,
  domains: z.array(
    z.object({
      id: z.string(),
      name: z.string(),
      description: z.string(),
      enabled: z.boolean(),
      links: z.object({ self: z.string() }),
    }),
  ),
});
export type DomainList = z.infer<typeof domainList>;

/** GET /v3/auth/catalog (iam 3). */
export const catalogAnswer = z.object({ catalog: z.array(catalogEntry), links: z.object({ self: z.string() }) });
export type CatalogAnswer = z.infer<typeof catalogAnswer>;

export const regionDocument = z.object({
  id: z.string(),
  type: z.literal('public'),
  description: z.string(),
  parent_region_id: z.null(),
  links: z.object({ self: z.string() }),
  locales: z.object({ 'en-us': z.string(), 'zh-cn': z.string() }),
});
/** GET /v3/regions (iam 3). */
export const regionList = z.object({ links, regions: z.array(regionDocument) });
export type RegionList = z.infer<typeof regionList>;

// Pages of projects, as documented (iam 3).
const page = z
  .string()
  .regex(/^\d{1,9}$/)
  .transform(Number)
  .pipe(z.number().min(1));
const perPage = z
  .string()
  .regex(/^\d{1,4}$/)
  .transform(Number)
  .pipe(z.number().min(1).max(5000));

/** Query of GET /v3/projects (iam 3): the name is compared whole, because clients take the only element. */
export const listProjectsQuery = z
  .object({
    name,
    domain_id: name,
    parent_id: name,
    enabled: z.enum(['true', 'false']),
    is_domain: z.enum(['true', 'false']),
    page,
    per_page: perPage,
  })
  .partial();
export type ListProjectsQuery = z.infer<typeof listProjectsQuery>;

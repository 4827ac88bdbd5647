import { z } from 'zod';

/** What a member has said to an image that is shared with it (ims-api 9.2). */
export const MEMBER_STATUSES = ['pending', 'accepted', 'rejected'] as const;
export type MemberStatus = (typeof MEMBER_STATUSES)[number];

/** Whom an image can be shared with: a project, every project of an account, every project of the accounts in an organization or a part of it. */
export const MEMBER_TYPES = ['project', 'domain', 'organization'] as const;
export type MemberType = (typeof MEMBER_TYPES)[number];

/** A member as events name it; `urn` is an organization's. */
export const memberName = z.object({
  memberId: z.string(),
  memberType: z.enum(MEMBER_TYPES),
  urn: z.string().optional(),
});
export type MemberName = z.infer<typeof memberName>;

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

/** The only step of the jobs that change members: they have ended when they are accepted (ims-api 9.1). */
export const MEMBER_CHANGE_STEPS = ['change-members'] as const;

/** What became of each image and target of a batch, in the order of the call (ims-api 10.3). */
export const changedMembers = z.object({
  results: z.array(
    z.object({
      imageId: z.string(),
      memberId: z.string(),
      memberType: z.enum(MEMBER_TYPES),
      /** `null` where it succeeded. */
      errorCode: z.string().nullable(),
    }),
  ),
});
export type ChangedMembers = z.infer<typeof changedMembers>;

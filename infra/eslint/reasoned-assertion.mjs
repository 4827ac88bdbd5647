/**
 * An assertion (`x as T`) switches the compiler off at that place. A database row was once asserted into a type it had lost a
 * migration before, and the error surfaced three rooms away. So an assertion needs a comment: on its line, or in the comment above
 * the statement it stands in. `as const` asserts nothing and needs none.
 */
export const reasonedAssertion = {
  meta: {
    type: 'problem',
    docs: { description: 'a type assertion says in a comment why it holds' },
    messages: {
      unreasoned:
        'Parse the value (zod) or narrow it; at a boundary where only you can know the type, say why it holds in a comment on the line or above the statement.',
    },
    schema: [],
  },
  create(context) {
    const { sourceCode } = context;
    const isConst = ({ typeName, type }) => type === 'TSTypeReference' && typeName.name === 'const';

    /** The statement, member or variable an expression stands in: a comment above it speaks for all of it. */
    const isWhole = ({ type }) => /(Statement|Declaration|Definition)$/.test(type) && type !== 'BlockStatement';

    function hasReason(node) {
      const commented = new Set(sourceCode.getAllComments().map(({ loc }) => loc.end.line));
      const has = ({ line }) => commented.has(line) || commented.has(line - 1);
      for (let at = node; at; at = at.parent) {
        if (has(at.loc.start) || (at === node && has(at.loc.end))) return true;
        if (isWhole(at)) return at.parent?.type.startsWith('Export') === true && has(at.parent.loc.start);
      }
      return false;
    }

    return {
      TSAsExpression(node) {
        if (isConst(node.typeAnnotation) || node.typeAnnotation.type === 'TSUnknownKeyword') return;
        if (!hasReason(node)) context.report({ node, messageId: 'unreasoned' });
      },
    };
  },
};

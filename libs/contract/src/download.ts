// A file of 128 GiB over 100 Mbit/s takes three hours; a line of a quarter of that still gets its file in one go.
/**
 * How long one download of an image file may take, in milliseconds. The gateway ends it then (the client goes on by range), and the image
 * store keeps the bytes of a deleted image longer than this: nobody loses what they are reading.
 */
export const LONGEST_DOWNLOAD_MS = 12 * 3_600_000;

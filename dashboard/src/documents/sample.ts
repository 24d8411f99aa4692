// A document to try questions on.

const TEXT = `# Keeper's handbook of Gull Rock lighthouse

## The light

The lamp of Gull Rock lighthouse is lit at sunset and put out at sunrise. It flashes twice every ten seconds and can be
seen from 18 miles away. The lens is cleaned each morning with a soft cloth and spirit of wine, never with water. A spare
lamp stands behind the lens. If the first one fails, the keeper on watch turns the lever, and writes the minute of the
failure into the log. In fog, the horn sounds once a minute, and the keepers take turns at the pump every two hours.

## The keepers

Two keepers live on the rock at a time. They change every four weeks, when the supply boat comes. The boat brings fresh
water, coal and letters, and lands only if the waves are lower than one meter. Each keeper has one watch by day and one by
night. Whoever is off watch cooks. The pantry holds food for nine weeks, in case the boat cannot land.

## In a storm

Close the iron shutters of the ground floor and take the boat up to the upper slip. Nobody goes out onto the gallery when
the wind is stronger than force 9. Sea water in the cellar is pumped out by hand, before it reaches the third step. After
the storm, look at the landing first: loose stones there have broken more legs than the waves.

## Visitors

Visitors may climb the tower on Sundays from May to September. It has 142 steps. At most six people stand on the gallery
at once. Dogs stay at the landing. Children below eight years climb with a keeper in front of them.
`;

export function sampleFile(): File {
  const text = TEXT.replace(/(\S)\n(?=\S)/g, '$1 ');
  return new File([text], 'lighthouse.md', { type: 'text/markdown' });
}
